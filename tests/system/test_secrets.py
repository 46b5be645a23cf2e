"""Secrets are planted in a release on a real node wherever one could come in; then all that comes out is searched for
them.

A task and a model print, log, raise, answer and score the secret of their environment, beside a word that may be seen:
where that word is, the secret would have been.
"""

import contextlib
import json
import os
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import obstore
import pytest
import trustme
import zstandard
from command_fixtures import CommandLine
from deployment import ROOT, CommandFailed
from leaks import find_leaks, make_secret
from obstore.store import S3Store
from pydantic.alias_generators import to_camel
from release_fixtures import RUN_SECONDS, TASK, Release, build_smoke_evaluation
from volume_fixtures import CLAIM, MOUNT, RunInVolume

from lmms_eval_core.redact import HIDDEN
from lmms_eval_core.sample_index.format import BLOCK_ROWS, decode_header
from lmms_eval_core.sample_index.reader import find_blocks, read_cards

pytestmark = pytest.mark.system

TASK_FOLDER = ROOT / "tests" / "support" / "release" / "planted_task"
RUN_SECRET, TLS_SECRET = "lmms-eval-env-planted", "planted-tls"
ANSWERS, RAISES, HELD = "secrets-answers", "secrets-raises", "secrets-held"
# What the task and the model say, before the word and the secret, and where that comes out.
SLIPS = [
    *((slip, f"GET /jobs/{ANSWERS}/logs") for slip in ("stdout", "stderr", "logged")),
    *((slip, f"GET /jobs/{ANSWERS}/samples/planted") for slip in ("question", "target", "answered", "scored")),
    *((slip, "store: planted.jsonl.zst") for slip in ("question", "target", "answered", "scored")),
    *((slip, "store: planted.idx") for slip in ("question", "target", "answered")),
    *(
        ("aggregated", place)
        for place in (f"GET /jobs/{ANSWERS}/results", f"lmmeval results {ANSWERS}", "store: results.json")
    ),
    *(("raised", f"kubectl get {kind}") for kind in ("lmmevaluations.lmms-eval.io", "events")),
    *(("raised", place) for place in (f"GET /jobs/{RAISES}", "log of evaluator/evaluator", "store: outcome.json")),
]
# Where the word has to be, besides all answers and all that `lmmeval` prints.
KEPT = {
    *(
        f"kubectl get {kind}"
        for kind in ("lmmevaluations.lmms-eval.io", "jobs.batch", "pods", "events", "events.events.k8s.io")
    ),
    *(
        f"store: {name}"
        for name in (
            "evaluation.yaml",
            "log.txt.zst",
            "outcome.json",
            "planted.jsonl.zst",
            "planted.idx",
            "results.json",
        )
    ),
    "log of evaluator/evaluator",
}
# Where it has no place, and what is there instead.
INSTEAD = {
    "GET /queue": HELD,
    "GET /openapi.json": "/evaluate",
    "lmmeval queue": HELD,
    "lmmeval ls": RAISES,
    "log of api/api": ANSWERS,
    "log of operator/operator": RAISES,
    "log of evaluator/reporter": RAISES,
    "metrics of api": "lmmseval_api_request_seconds",
    "metrics of operator": "lmmseval_",
    "refusals by kubectl": "use env with secretKeyRef",
    "refusals over HTTP": "with a secret_key_ref to that Secret",
    "store: complete.json": RAISES,
}
# What an evaluation has nothing to do with, and what other tests left: pods without a component are none of the
# product's runs.
ELSEWHERE = ("kubectl get", "store:", "log of s3", "log of catalogue", "log of None")
FILL = f"""
import json, os, pathlib
for name, text in json.loads(os.environ["FILES"]).items():
    pathlib.Path("{MOUNT}", name).write_text(text)
"""


class Planted(NamedTuple):
    """Secrets by kind, the word beside them, and the texts that came out, by place."""

    secrets: dict[str, str]
    beside: str
    out: dict[str, str]


@pytest.fixture(scope="module")
def task(run_in_volume: RunInVolume) -> None:
    """The task that lets secrets slip, in a volume."""
    run_in_volume(
        FILL, FILES=json.dumps({path.name: path.read_text() for path in TASK_FOLDER.iterdir() if path.is_file()})
    )


class Locked(NamedTuple):
    """The release behind https, and what trusts its certificate."""

    trust: ssl.SSLContext
    authority: Path
    key: str


@pytest.fixture(scope="module")
def locked(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """The release with a private key of its own and all that it can log; as it was before, afterwards."""
    issued = (authority := trustme.CA()).issue_cert("127.0.0.1")
    key = issued.private_key_pem.bytes().decode()
    files = {"tls.crt": "".join(blob.bytes().decode() for blob in issued.cert_chain_pems), "tls.key": key}
    store_secret(release, TLS_SECRET, files, kind="kubernetes.io/tls")
    chatty = {"api": {"logLevel": "debug", "tls": {"existingSecret": TLS_SECRET}}, "operator": {"logLevel": "debug"}}
    release.deployment.install(release.values | chatty)
    # Helm waits for enough pods of the new kind, and not for the end of the last old one.
    release.deployment("rollout", "status", f"deployment/{release.deployment.release}-operator", "--timeout=120s")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(path := tmp_path_factory.mktemp("tls") / "authority.pem")
    yield Locked(context, path, key)
    release.deployment.install(release.values)


def store_secret(release: Release, name: str, content: dict[str, str], *, kind: str = "Opaque") -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name}, "stringData": content}
    release.deployment("apply", "-f", "-", stdin=json.dumps(body))


def planted_run(name: str, beside: str, *, hold: bool = False, **env: str) -> dict[str, Any]:
    variables: list[dict[str, Any]] = [
        {"name": key, "value": value} for key, value in {"BESIDE": beside, **env}.items()
    ]
    references = {"PLANTED": "planted", "HF_TOKEN": "token"}
    variables += [
        {"name": key, "secretKeyRef": {"name": RUN_SECRET, "key": place}} for key, place in references.items()
    ]
    volumes = [{"claimName": CLAIM, "mountPath": MOUNT}]
    spec = {"modelArgs": None, "tasks": ["planted"], "includePath": MOUNT, "volumes": volumes, "env": variables}
    return build_smoke_evaluation(name, model="dummy", gpus=0, hold=hold, **spec)


@pytest.fixture(scope="module")
def planted(release: Release, task: None, locked: Locked) -> Planted:
    """Everything that came out of three evaluations and of some refusals."""
    stored = release.deployment.json("get", "secret", f"{release.deployment.release}-store")["data"]
    planted = {
        # What JSON, URLs and Python each write differently, and what needs care in patterns.
        "of the run": f'{make_secret()}/"+\\ü ?{make_secret()}',
        "of the hub": f"hf_{make_secret()}",
        "token": release.deployment.token(),
        "store's key": b64decode(stored["AWS_SECRET_ACCESS_KEY"]).decode(),
        "private key": locked.key.splitlines()[2],
    }
    planted |= {f"refused {number}": make_secret() for number in range(len(REFUSED))}
    beside = make_secret("beside")
    store_secret(release, RUN_SECRET, {"planted": planted["of the run"], "token": planted["of the hub"]})
    for run in (
        planted_run(HELD, beside, hold=True),
        planted_run(ANSWERS, beside),
        planted_run(RAISES, beside, PLANTED_RAISE="1"),
    ):
        release.apply(run)
    with https(release, locked) as http:
        followed = {"GET /logs?follow=true": http.get(f"/jobs/{ANSWERS}/logs?follow=true", timeout=RUN_SECONDS).text}
        for name in (ANSWERS, RAISES):
            release.finish(name)
        out = followed | refusals(release, http, planted) | answers(http) | commands(release, locked, http)
    return Planted(planted, beside, out | objects(release) | logs(release) | metrics(release) | files(release, stored))


@contextlib.contextmanager
def https(release: Release, locked: Locked) -> Iterator[httpx.Client]:
    """The front end behind its certificate."""
    options: dict[str, Any] = {
        "headers": {"Authorization": f"Bearer {release.deployment.token()}"},
        "verify": locked.trust,
        "event_hooks": {"request": [release.add_seen_version]},
    }
    with (
        release.deployment.port_forward(f"{release.deployment.release}-api", 443) as url,
        httpx.Client(base_url=url.replace("http:", "https:"), timeout=60, **options) as http,
    ):
        yield http


# What must not be kept, by field of a request.
REFUSED: list[Callable[[str], dict[str, Any]]] = [
    lambda value: {"model_args": {"api_key": value}},
    lambda value: {"model_args": {"base_url": f"https://user:{value}@host/v1"}},
    lambda value: {"gen_kwargs": f"temperature=0,api_key={value}"},
    lambda value: {"gen_kwargs": f"base_url=https://{value}@host/v1"},
    lambda value: {"env": [{"name": "JUDGE_API_KEY", "value": value}]},
    lambda value: {"env": [{"name": "HTTPS_PROXY", "value": f"http://user:{value}@proxy:3128"}]},
]


def refusals(release: Release, http: httpx.Client, planted: dict[str, str]) -> dict[str, str]:
    """What is said to those who send secrets, over HTTP and by kubectl."""
    said: dict[str, str] = {"refusals by kubectl": "", "refusals over HTTP": ""}
    for number, field in enumerate(REFUSED):
        asked = field(planted[f"refused {number}"])
        answer = http.post("/evaluate", json={"model": "dummy", "tasks": [TASK], **asked})
        assert answer.status_code == 422, (asked, answer.text)
        said["refusals over HTTP"] += answer.text
        wire = {to_camel(name): value for name, value in asked.items()}
        with pytest.raises(CommandFailed) as refused:
            release.deployment("create", "-f", "-", stdin=json.dumps(build_smoke_evaluation("secrets-refused", **wire)))
        said["refusals by kubectl"] += str(refused.value)
    return said


def answers(http: httpx.Client) -> dict[str, str]:
    """Every route that tells of the evaluations."""
    paths = ["/jobs", "/queue", "/openapi.json"]
    for name in (ANSWERS, RAISES):
        paths += [f"/jobs/{name}{rest}" for rest in ("", "/logs", "/logs?tail=20", "/events")]
    paths += [f"/jobs/{ANSWERS}{rest}" for rest in ("?include=samples", "/results", "/samples/planted")]
    said = {f"GET {path}": http.get(path) for path in paths}
    lines = {"Accept": "application/x-ndjson"}
    said["GET samples as lines"] = http.get(f"/jobs/{ANSWERS}/samples/planted", headers=lines)
    for place, answer in said.items():
        assert answer.status_code == 200, (place, answer.text)
    return {place: f"{answer.headers} {answer.text}" for place, answer in said.items()}


def commands(release: Release, locked: Locked, http: httpx.Client) -> dict[str, str]:
    """What `lmmeval` prints, in a pipe."""
    environment = {
        "PATH": os.environ["PATH"],
        "LMMS_EVAL_URL": str(http.base_url),
        "LMMS_EVAL_TOKEN": release.deployment.token(),
        "SSL_CERT_FILE": str(locked.authority),
    }
    lmmeval = CommandLine(environment)
    asked = [("ls",), ("queue",), ("samples", ANSWERS), ("results", ANSWERS), ("results", ANSWERS, "--json")]
    asked += [(verb, name) for verb in ("get", "logs") for name in (ANSWERS, RAISES)]
    asked += [("get", name, "--json") for name in (ANSWERS, RAISES)]
    out = {f"lmmeval {' '.join(words)}": lmmeval.answer(*words) for words in asked}
    watched = lmmeval("watch", RAISES)
    return out | {"lmmeval watch": watched.stdout + watched.stderr}


def objects(release: Release) -> dict[str, str]:
    """All that the API server keeps in the namespace, with who set which field; but for the Secrets."""
    kinds = release.deployment("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    told = ("get", "-o", "json", "--show-managed-fields")
    return {
        f"kubectl get {kind}": release.deployment(*told, kind)
        for kind in kinds
        if kind not in ("secrets", "pods.metrics.k8s.io")
    }


def logs(release: Release) -> dict[str, str]:
    """What Kubernetes keeps of the output of every container."""
    out: dict[str, str] = {}
    for pod in release.deployment.json("get", "pods")["items"]:
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
            place = f"log of {pod['metadata']['labels'].get('app.kubernetes.io/component')}/{container['name']}"
            out[place] = out.get(place, "") + release.deployment(
                "logs", pod["metadata"]["name"], "-c", container["name"]
            )
    return out


def metrics(release: Release) -> dict[str, str]:
    """Of every pod of operator and front end."""
    out: dict[str, str] = {}
    for component, port in (("operator", 8080), ("api", 9090)):
        names = release.deployment(
            "get", "pods", "-l", f"app.kubernetes.io/component={component}", "-o", "name"
        ).split()
        for name in names:
            pod = name.replace("pod/", "pods/")
            path = f"/api/v1/namespaces/{release.deployment.namespace}/{pod}:{port}/proxy/metrics"
            out[f"metrics of {component}"] = out.get(f"metrics of {component}", "") + release.deployment(
                "get", "--raw", path
            )
    return out


def read_index(content: bytes) -> str:
    """All texts of an index of samples: its header, and the cards."""
    header = decode_header(content, len(content))
    texts, at = [header.model_dump_json()], header.find_column("blocks")
    for zone in header.zones:
        start = zone.start + sum(zone.sizes[:at])
        for block in find_blocks(content[start : start + zone.sizes[at]], zone, range(zone.rows)):
            rows = min(BLOCK_ROWS, zone.rows - block.first)
            cards = read_cards(content[block.start : block.end], rows, len(header.metrics))
            texts.append(json.dumps(cards, ensure_ascii=False))
    return " ".join(texts)


def files(release: Release, keys: dict[str, str]) -> dict[str, str]:
    """Every object of the store, unpacked."""
    key_id, key = (b64decode(keys[f"AWS_{name}"]).decode() for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    bucket = release.read_status(ANSWERS)["artifacts"]["uri"].removeprefix("s3://").partition("/")[0]
    out: dict[str, str] = {}
    with release.deployment.port_forward(f"{release.deployment.release}-s3", 7070) as endpoint:
        options: Any = {"allow_http": True}
        store = S3Store(
            bucket,
            endpoint=endpoint,
            region="us-east-1",
            client_options=options,
            access_key_id=key_id,
            secret_access_key=key,
        )
        for entry in (entry for page in obstore.list(store) for entry in page):
            content = bytes(obstore.get(store, entry["path"]).bytes())
            if entry["path"].endswith(".zst"):
                content = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()
            text = read_index(content) if entry["path"].endswith(".idx") else content.decode()
            place = f"store: {entry['path'].rpartition('/')[2]}"
            out[place] = out.get(place, "") + f"{entry['path']} {text}"
    return out


def test_no_secret_comes_out(planted: Planted) -> None:
    assert find_leaks(planted.secrets, planted.out) == {}


def test_what_was_printed_with_them_is_there_without_them(planted: Planted) -> None:
    missing = [(slip, place) for slip, place in SLIPS if f"{slip} {planted.beside} {HIDDEN} " not in planted.out[place]]
    assert missing == []


def test_the_search_would_have_found_them_everywhere(planted: Planted) -> None:
    shown = find_leaks({"beside": planted.beside}, planted.out)["beside"]
    assert shown >= KEPT
    assert {place for place, word in INSTEAD.items() if word not in planted.out[place]} == set()
    rest = planted.out.keys() - shown - INSTEAD.keys()
    assert {place for place in rest if not place.startswith(ELSEWHERE)} == set()
