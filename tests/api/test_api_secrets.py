"""A secret is planted wherever one could come in; then all that comes out is searched for it.

What a caller asks to be kept is kept: values of arguments, labels and plain variables are part of the evaluation,
stored and shown with it, and in no log. What is a path is logged; an X-Request-ID that is harmless is given back and
logged. Nothing else that is sent ever comes out again.
"""

import base64
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import leaks
import pytest
from abuse import create_ended_job
from deployment import Kubectl
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from plain_http import NO_TLS
from ports import find_free_port
from s3_fixtures import S3Server

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

VALID: dict[str, Any] = {"model": "llava_hf", "tasks": ["mme"]}


class Out(NamedTuple):
    """All that came out, by where."""

    answers: list[str]
    log: Callable[[], str]
    metrics: Callable[[], str]
    objects: Callable[[], str]

    def where(self, secret: str) -> set[str]:
        """Where a secret is."""
        return self.search({"it": secret}).get("it", set())

    def search(self, planted: dict[str, str]) -> dict[str, set[str]]:
        """Those of the secrets that are somewhere, in any of the forms that text takes on its way, and where."""
        texts = {
            "answers": "\n".join(self.answers),
            "log": self.log(),
            "metrics": self.metrics(),
            "objects": self.objects(),
        }
        return leaks.find_leaks(planted, texts)


class Planter:
    """Makes secrets, and sends them."""

    def __init__(self, front_end: FrontEnd, answers: list[str]) -> None:
        self._front_end = front_end
        self._answers = answers
        self.token = TOKEN
        self.planted: dict[str, str] = {}

    def secret(self, kind: str) -> str:
        """A new one, of letters that need no quoting anywhere."""
        return self.keep(kind, leaks.make_secret())

    def keep(self, kind: str, secret: str) -> str:
        """One that somebody else has made."""
        self.planted[f"{kind} {len(self.planted)}"] = secret
        return secret

    def send(self, method: str, path: str, *, token: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"} | options.pop("headers", {})
        with httpx.Client(base_url=self._front_end.url, trust_env=False, verify=NO_TLS, timeout=20) as session:
            answer = session.request(method, path, headers=headers, **options)
        self._answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return answer


StartDoor = Callable[..., tuple[Planter, Out]]


@pytest.fixture
def start_door(start_front_end: StartFrontEnd, s3_server: S3Server, kubectl: Kubectl, namespace: str) -> StartDoor:
    """Starts a front end that logs all it can; who sends to it, and what comes out of it.

    Keywords are further settings.
    """

    def stored() -> str:
        # With what hides by default: who set which field.
        return kubectl("-n", namespace, "get", "lmmevaluations", "-o", "json", "--show-managed-fields")

    def start(**environment: str) -> tuple[Planter, Out]:
        port = find_free_port()
        chosen = {"LMMS_EVAL_LOG_LEVEL": "DEBUG", "LMMS_EVAL_API_METRICS_PORT": str(port)}
        front_end = start_front_end(**chosen, **s3_server.environment(), **environment)
        front_end.wait_until_ready()

        def metrics() -> str:
            return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=NO_TLS).text

        out = Out(answers=[], log=front_end.log.read_text, metrics=metrics, objects=stored)
        return Planter(front_end, out.answers), out

    return start


@pytest.fixture
def account(kubectl: Kubectl, namespace: str) -> str:
    """The token of an account that may do everything."""
    here = ("-n", namespace)
    kubectl(*here, "create", "serviceaccount", "somebody")
    kubectl(*here, "create", "role", "everything", "--verb=*", "--resource=lmmevaluations.lmms-eval.io")
    kubectl(*here, "create", "rolebinding", "everything", "--role=everything", f"--serviceaccount={namespace}:somebody")
    return kubectl(*here, "create", "token", "somebody").strip()


ROUTES = [
    ("GET", "/queue"),
    ("GET", "/jobs"),
    ("GET", "/jobs/ended"),
    ("GET", "/jobs/ended/results"),
    ("GET", "/jobs/ended/samples/mme"),
    ("GET", "/jobs/ended/logs"),
    ("GET", "/jobs/ended/events"),
    ("GET", "/jobs/missing"),
    ("GET", "/tasks"),
    ("GET", "/models"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
    ("GET", "/health"),
    ("GET", "/openapi.json"),
    ("GET", "/nowhere"),
    ("POST", "/evaluate"),
    ("POST", "/merge"),
    ("PATCH", "/jobs/missing"),
    ("DELETE", "/jobs/missing"),
]


@pytest.mark.parametrize("auth", ["token", "kubernetes"])
async def test_nothing_that_is_secret_comes_out(
    start_door: StartDoor, auth: str, account: str, s3_server: S3Server, client: Transport, tmp_path: Path
) -> None:
    await create_ended_job(client, ObjectStore(StoreSettings.from_environment(s3_server.environment())), "ended")
    plant, out = start_door(LMMS_EVAL_API_AUTH=auth)
    plant.token = account if auth == "kubernetes" else leaks.make_secret()
    # The first two parts of an account's token are its names and times.
    plant.keep("valid token", plant.token.rsplit(".", 1)[-1])
    plant.keep("key of the store", s3_server.secret_key)
    (tmp_path / "tokens" / "own").write_text(plant.token)
    for _ in itertools.count():
        if plant.send("GET", "/queue").status_code == 200:
            break

    for method, path in ROUTES:
        body: dict[str, Any] = (
            {"json": VALID} if method == "POST" else {"json": {"priority": 1}} if method == "PATCH" else {}
        )
        plant.send(method, path, **body)
        plant.send(method, path, token=plant.secret("wrong token"), **body)
        for user in ("user", ""):
            password = plant.secret("password")
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            plant.send(method, path, headers={"Authorization": f"Basic {basic}"}, **body)
        plant.send(method, path, headers={"Authorization": f"Digest {plant.secret('odd scheme')}"}, **body)
        plant.send(method, path, headers={"Authorization": plant.secret("no scheme")}, **body)
        plant.send(method, path, headers={"Proxy-Authorization": f"Basic {plant.secret('proxy')}"}, **body)
        plant.send(method, path, headers={"X-Api-Key": plant.secret("other header")}, **body)
        plant.send(method, path, headers={"Cookie": f"session={plant.secret('cookie')}"}, **body)
        plant.send(method, path, headers={"Cookie": f"lmms_eval_version={plant.secret('our cookie')}"}, **body)
        plant.send(method, path, headers={"X-Request-ID": f"{plant.secret('odd request id')} !"}, **body)
        plant.send(method, path, headers={"Last-Event-ID": plant.secret("event id")}, **body)
        plant.send(method, path, headers={"If-None-Match": f'"{plant.secret("etag")}"'}, **body)
        plant.send(method, path, headers={"User-Agent": plant.secret("user agent")}, **body)
        plant.send(method, path, headers={"Referer": f"https://a/?key={plant.secret('referer')}"}, **body)
        for key in (
            "token",
            "access_token",
            "cursor",
            "limit",
            "include",
            "attempt",
            "filter",
            "dryRun",
            "label",
            "status",
            "q",
        ):
            plant.send(method, f"{path}?{key}={plant.secret(f'query {key}')}", **body)
        plant.send(
            method, path, content=plant.secret("body that is no JSON"), headers={"Content-Type": "application/json"}
        )
        plant.send(method, path, content=b'{"model": "%b' % plant.secret("half a body").encode())
        plant.send(method, path, json=plant.secret("text"))
        plant.send(method, path, json=[plant.secret("list")])

    for key in ("api_key", "token", "hf_token", "password", "aws_secret"):
        answer = plant.send("POST", "/evaluate", json={**VALID, "model_args": {key: plant.secret(f"argument {key}")}})
        assert answer.status_code == 422
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "MY_PASSWORD"):
        answer = plant.send(
            "POST", "/evaluate", json={**VALID, "env": [{"name": name, "value": plant.secret(f"variable {name}")}]}
        )
        assert answer.status_code == 422
    for field in ("unknown", "openai_api_key", "metadata", "spec"):
        assert (
            plant.send("POST", "/evaluate", json={**VALID, field: plant.secret(f"unknown {field}")}).status_code == 200
        )
        assert (
            plant.send("POST", "/evaluate", json={**VALID, field: {"a": plant.secret(f"unknown {field}")}}).status_code
            == 200
        )
    for field in (
        "num_gpus",
        "limit",
        "model_args",
        "tasks",
        "batch_size",
        "tolerations",
        "volumes",
        "timeout_seconds",
        "labels",
    ):
        plant.send("POST", "/evaluate", json={**VALID, field: [{"a": plant.secret(f"wrong type {field}")}]})
    for field in ("priority", "hold", "ttl_seconds_after_finished", "nothing"):
        plant.send("PATCH", "/jobs/ended", json={field: plant.secret(f"change {field}")})
    key = plant.secret("idempotency key")
    for body in (VALID, VALID, {**VALID, "limit": 3}):
        plant.send("POST", "/evaluate", json=body, headers={"Idempotency-Key": key})

    assert len(plant.planted) > 400
    assert out.search(plant.planted) == {}
    # What is no secret is found in each, so that a secret would have been.
    told = leaks.make_secret("told")
    assert plant.send("POST", "/evaluate", json={**VALID, "name": told}).status_code == 200
    assert plant.send("GET", f"/jobs/{told}").status_code == 200
    # A request is logged when it has been answered, and before the next one of its connection is.
    plant.send("GET", "/queue")
    assert out.where(told) == {"answers", "log", "objects"}
    assert out.where("lmmseval_api_request_seconds") == {"metrics"}


def test_what_is_asked_to_be_kept_is_kept_and_told_to_nobody_else(start_door: StartDoor) -> None:
    plant, out = start_door()
    kept = {name: plant.secret(name) for name in ("argument", "label", "variable", "instruction", "output_dir")}
    body = {
        **VALID,
        "model_args": {"pretrained": kept["argument"]},
        "labels": {"team": kept["label"]},
        "env": [{"name": "HF_HUB_OFFLINE", "value": kept["variable"]}],
        "system_instruction": kept["instruction"],
        "output_dir": kept["output_dir"],
    }
    sent = plant.send("POST", "/evaluate", json=body)
    job = sent.json()["job_id"]
    out.answers.clear()
    for path in ("/queue", "/health", "/jobs/missing", "/jobs?label=team", f"/jobs/{job}/logs", f"/jobs/{job}/results"):
        plant.send("GET", path)
    for name, secret in kept.items():
        # A list names the labels of its jobs, as `kubectl get --show-labels` does.
        assert out.where(secret) == {"objects"} | ({"answers"} if name == "label" else set()), name
    plant.send("GET", f"/jobs/{job}")
    plant.send("DELETE", f"/jobs/{job}")
    for name, secret in kept.items():
        assert out.where(secret) == {"objects", "answers"}, name


def test_a_path_and_a_harmless_request_id_are_given_back_and_logged_and_not_counted(start_door: StartDoor) -> None:
    plant, out = start_door()
    path, request_id = plant.secret("path"), plant.secret("request id")
    plant.send("GET", f"/jobs/{path}")
    plant.send("GET", "/queue", headers={"X-Request-ID": request_id})
    assert out.where(path) == out.where(request_id) == {"answers", "log"}


def test_an_account_that_may_nothing_is_told_nothing(start_door: StartDoor, kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "serviceaccount", "nobody")
    token = kubectl("-n", namespace, "create", "token", "nobody").strip()
    plant, out = start_door(LMMS_EVAL_API_AUTH="kubernetes")
    for path in ("/queue", "/jobs/a", "/nowhere"):
        assert plant.send("GET", path, token=token).status_code == 403
        assert plant.send("GET", path, token=plant.secret("wrong token")).status_code == 401
    assert out.search(plant.planted | {"token": token, "signature": token.rsplit(".", 1)[1]}) == {}
    assert "log" in out.where(f"{namespace}:nobody")


def test_a_store_that_is_away_is_no_reason_to_tell_its_key(start_door: StartDoor, s3_server: S3Server) -> None:
    plant, out = start_door(LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS="0.2")
    s3_server.stop()
    for _ in range(20):
        for path in ("/tasks", "/models", "/jobs/a/results"):
            plant.send("GET", path)
    assert out.search({"key": s3_server.secret_key, "token": TOKEN}) == {}
    # The sweeper logs it when its requests have failed as often as they are made again.
    deadline = time.monotonic() + 60
    while not out.where("object store") >= {"answers", "log"}:
        assert time.monotonic() < deadline, out.log()
        time.sleep(0.1)
    assert out.search({"key": s3_server.secret_key, "token": TOKEN}) == {}
