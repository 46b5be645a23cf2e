"""The same requests to lmms-eval's own server and to ours: they differ as docs/compatibility.md says, and not
otherwise.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from deployment import ROOT
from front_end_fixtures import FrontEnd, StartFrontEnd
from plain_http import NO_TLS
from s3_fixtures import S3Server
from upstream_fixtures import RECORDED_RUN, RECORDED_TASK, StartUpstreamServer, UpstreamServer

from lmms_eval_core import layout
from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask, TaskKind
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.content import compressed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = ROOT / "docs" / "compatibility.md"
SMALL: Final = {"model": "dummy", "tasks": ["mme"]}
RECORDED: Final = {
    "model": "llava_hf",
    "tasks": [RECORDED_TASK],
    "model_args": {"pretrained": "/opt/lmms-eval/smoke/models/llava", "device": "cpu", "device_map": "cpu"},
    "limit": 4,
}
TASKS: Final = ["ai2d", "mme", "mmmu_val", RECORDED_TASK]
MODELS: Final = {"dummy": None, "llava_hf": None, "vllm": "It asks for packages that this image lacks: vllm."}
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a caller sees. Of pages for people, their kind alone."""

    status: int
    media: str
    body: Any

    @property
    def said(self) -> str:
        """All of it as text: numbers keep their type, keys have no order."""
        return json.dumps([self.status, self.media, self.body], sort_keys=True)

    def of(self, *keys: str) -> Any:
        """The values of these keys, if it is an object."""
        return [self.body.get(key) for key in keys] if isinstance(self.body, dict) else []

    def with_body(self, **members: Any) -> "Answer":
        """The same with other values."""
        return replace(self, body=self.body | members)


Pair = tuple[Answer, Answer]
Rule = Callable[[Answer, Answer], Pair]


def problem_details(ours: Answer, theirs: Answer) -> Pair:
    assert ours.media == "application/problem+json"
    assert ours.of("status", "type") == [ours.status, "about:blank"]
    assert ours.body["request_id"] and ours.body["title"]
    return Answer(ours.status, "application/json", {"detail": ours.body["detail"]}), theirs


def input_not_repeated(ours: Answer, theirs: Answer) -> Pair:
    detail = [
        {key: value for key, value in item.items() if key not in ("input", "ctx")} for item in theirs.body["detail"]
    ]
    return ours, theirs.with_body(detail=detail)


def further_keys(ours: Answer, theirs: Answer) -> Pair:
    assert ours.body.keys() > theirs.body.keys()
    return replace(ours, body={key: ours.body[key] for key in theirs.body}), theirs


def times(ours: Answer, theirs: Answer) -> Pair:
    return _dated(ours, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), _dated(
        theirs, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?"
    )


def _dated(answer: Answer, form: str) -> Answer:
    found = {key: value for key, value in answer.body.items() if key in TIMES and value is not None}
    assert found and all(re.fullmatch(form, value) for value in found.values()), found
    return answer.with_body(**dict.fromkeys(found, "a time"))


def position_ends(ours: Answer, theirs: Answer) -> Pair:
    assert ours.body["position_in_queue"] is None and isinstance(theirs.body["position_in_queue"], int)
    return ours, theirs.with_body(position_in_queue=None)


def cancelled_not_counted(ours: Answer, theirs: Answer) -> Pair:
    key = "queue_size" if "queue_size" in ours.body else "position_in_queue"
    assert ours.body[key] < theirs.body[key]
    text = json.dumps(theirs.body).replace(f"queue: {theirs.body[key]}", f"queue: {ours.body[key]}")
    return ours, replace(theirs, body=json.loads(text) | {key: ours.body[key]})


def cancelled_at(ours: Answer, theirs: Answer) -> Pair:
    assert (ours.body["status"], ours.body["completed_at"]) == ("cancelled", None) and theirs.body["completed_at"]
    return ours, theirs.with_body(completed_at=None)


def error_text(ours: Answer, theirs: Answer) -> Pair:
    assert all(isinstance(answer.body["error"], str) and answer.body["error"] for answer in (ours, theirs))
    return ours.with_body(error="why"), theirs.with_body(error="why")


def catalogue(ours: Answer, theirs: Answer) -> Pair:
    names = theirs.body["models"]
    assert names == sorted(names) and ours.body["models"] in ([], list(MODELS))
    return ours.with_body(models=names), theirs


def results(ours: Answer, theirs: Answer) -> Pair:
    ((folder, here),) = ours.body["result"].items()
    ((their_folder, there),) = theirs.body["result"].items()
    url = ours.body["links"]["self"]
    assert (folder, here) == (
        their_folder,
        {"results": f"{url}/results", "samples": [f"{url}/samples/{RECORDED_TASK}"]},
    )
    assert all(Path(path).is_file() for path in (there["results"], *there["samples"]))
    return ours.with_body(result=theirs.body["result"]), theirs


def instead(status: int, words: str, *, of: set[int], there: str = "") -> Rule:
    """Another answer altogether, whose status and words are known."""

    def rule(ours: Answer, theirs: Answer) -> Pair:
        assert ours.status == status and words in json.dumps(ours.body), ours
        assert theirs.status in of and there in json.dumps(theirs.body), theirs
        return theirs, theirs

    return rule


AT: Final = "2026-01-01T00:00:00Z"
IMAGE: Final = "0123abcd"
TIMES: Final = ("created_at", "started_at", "completed_at", "timestamp")
# In the order in which they are taken out of an answer.
RULES: Final[dict[str, Rule]] = {
    "authentication": instead(401, "Send a token", of={200}),
    "no-redirects": instead(404, "Not Found", of={307}),
    "further-routes": lambda ours, theirs: instead(ours.status, "", of={404, 405})(ours, theirs),
    "further-fields": instead(422, '"loc"', of={200}),
    "refused-early": instead(422, '"loc"', of={200}),
    "secrets": instead(422, "secret_key_ref", of={200}),
    "large-bodies": instead(413, "larger than", of={200}),
    "running-cancelled": instead(200, "is being cancelled", of={400}, there="Cannot cancel a running job"),
    "merge": instead(501, "merge where you train", of={422, 500}),
    "problem-details": problem_details,
    "input-not-repeated": input_not_repeated,
    "catalogue": catalogue,
    "results": results,
    "further-keys": further_keys,
    "times": times,
    "position-ends": position_ends,
    "cancelled-not-counted": cancelled_not_counted,
    "cancelled-at": cancelled_at,
    "error-text": error_text,
}


@dataclass(frozen=True)
class Case:
    """One request, and the rows of the page that its answers differ by.

    `{name}` in the path is the id of a job of the scene.
    """

    method: str
    path: str
    differs: tuple[str, ...] = ()
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    anonymous: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path} {(self.content or b'')[:60]!r}"


def sends(content: bytes | dict[str, Any], *differs: str) -> Case:
    """A submission."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Case("POST", "/evaluate", differs, raw, dict(JSON))


def asks(**fields: Any) -> dict[str, Any]:
    """A body that is a little different from the smallest."""
    return SMALL | fields


ERROR: Final = ("problem-details",)
INVALID: Final = ("problem-details", "input-not-repeated")
JOB: Final = ("further-keys", "times")

READS: Final = [
    Case("GET", "/jobs/{waiting}", JOB),
    Case("GET", "/jobs/{later}", JOB),
    Case("GET", "/jobs/{running}", (*JOB, "position-ends")),
    Case("GET", "/jobs/{completed}", (*JOB, "position-ends", "results")),
    Case("GET", "/jobs/{failed}", (*JOB, "position-ends", "error-text")),
    Case("GET", "/jobs/{dropped}", (*JOB, "position-ends", "cancelled-at")),
    Case("GET", "/queue"),
    Case("GET", "/health", ("times", "cancelled-not-counted")),
    Case("GET", "/queue", ("authentication",), anonymous=True),
    Case("GET", "/docs", ("authentication",), anonymous=True),
    Case("GET", "/docs"),
    Case("GET", "/redoc"),
    Case("GET", "/docs/oauth2-redirect"),
    Case("GET", "/tasks"),
    Case("GET", "/models", ("catalogue", "further-keys")),
    Case("GET", "/jobs/nothing", ERROR),
    Case("GET", "/jobs/00000000-0000-4000-8000-000000000000", ERROR),
    Case("GET", "/jobs/%2e%2e", ERROR),
    Case("GET", "/jobs/a%2Fb", ERROR),
    Case("GET", "/jobs/A B", ERROR),
    Case("DELETE", "/jobs/nothing", ERROR),
    Case("DELETE", "/jobs/{dropped}", ERROR),
    Case("DELETE", "/jobs/{failed}", ERROR),
    Case("DELETE", "/jobs/{completed}", ERROR),
    Case("GET", "/", ERROR),
    Case("GET", "/nowhere", ERROR),
    Case("GET", "/evaluate", ERROR),
    Case("GET", "/merge", ERROR),
    Case("PUT", "/queue", ERROR),
    Case("POST", "/queue", ERROR),
    Case("DELETE", "/queue", ERROR),
    Case("POST", "/jobs/{waiting}", ERROR),
    Case("PUT", "/jobs/{waiting}", ERROR),
    Case("DELETE", "/evaluate", ERROR),
    Case("OPTIONS", "/evaluate", ERROR),
    Case("GET", "/queue/", ("no-redirects",)),
    Case("GET", "/health/", ("no-redirects",)),
    Case("POST", "/evaluate/", ("no-redirects",), b"{}", dict(JSON)),
    Case("GET", "/jobs/{waiting}/", ("no-redirects",)),
    Case("GET", "/jobs/", ERROR),
    Case("GET", "/jobs", ("further-routes",)),
    Case("PATCH", "/jobs/{waiting}", ("further-routes",), b"{}", dict(JSON)),
    Case("GET", "/livez", ("further-routes",)),
    Case("GET", "/readyz", ("further-routes",)),
    *(
        Case("HEAD", path)
        for path in ("/docs", "/redoc", "/openapi.json", "/health", "/queue", "/jobs/{completed}", "/tasks", "/no")
    ),
    Case("POST", "/merge", ("merge",), b'{"checkpoint_path": "/nowhere"}', dict(JSON)),
    Case("POST", "/merge", ("merge",), b"{}", dict(JSON)),
]
SUBMISSIONS: Final = [
    sends(SMALL, "further-keys"),
    sends(asks(limit="0.5", batch_size="4", num_gpus="1"), "further-keys"),
    sends(asks(limit="8", batch_size=4.0, num_gpus=2.0), "further-keys"),
    sends(asks(limit=8.0, batch_size="auto", log_samples="yes"), "further-keys"),
    sends(asks(limit=True, predict_only=0, log_samples="off"), "further-keys"),
    sends(asks(limit=0, batch_size=0, num_fewshot=0), "further-keys"),
    sends(asks(limit=-1, batch_size="", gen_kwargs=""), "further-keys"),
    sends(asks(limit=1e3, num_fewshot="2", num_gpus=0), "further-keys"),
    sends(asks(model_args={}, device="cuda:0", output_dir="/results"), "further-keys"),
    sends(asks(model_args={"pretrained": "a/b", "n": 1, "x": 0.5, "yes": True}, device="cpu"), "further-keys"),
    sends(asks(gen_kwargs="temperature=0,top_p=1", batch_size="auto:4"), "further-keys"),
    sends(asks(tasks=["mme,ai2d", "mmmu_val"]), "further-keys"),
    sends({key: None for key in ("model_args", "limit", "gen_kwargs", "device", "output_dir")} | SMALL, "further-keys"),
    sends(asks(foo=1, bar={"a": [None]}), "further-keys"),
    sends(b'{"model": "dummy", "tasks": ["mme"], "model": "other"}', "further-keys"),
    sends(b"{}", *INVALID),
    sends({"model": "dummy"}, *INVALID),
    sends({"tasks": ["mme"]}, *INVALID),
    sends(asks(tasks="mme"), *INVALID),
    sends(asks(tasks=[1]), *INVALID),
    sends(asks(tasks=None), *INVALID),
    sends(asks(model=None), *INVALID),
    sends(asks(model=7), *INVALID),
    sends(asks(model_args="pretrained=a/b"), *INVALID),
    sends(asks(gen_kwargs={"temperature": 0}), *INVALID),
    sends(asks(num_gpus=2.5), *INVALID),
    sends(asks(num_gpus=None), *INVALID),
    sends(asks(num_gpus=10**30), "refused-early"),
    sends(asks(num_fewshot="two"), *INVALID),
    sends(asks(limit="many"), *INVALID),
    sends(asks(limit=[]), *INVALID),
    sends(asks(batch_size=[]), *INVALID),
    sends(asks(batch_size=4.5), *INVALID),
    sends(asks(log_samples="perhaps"), *INVALID),
    sends(asks(predict_only=2, device=1, output_dir=1), *INVALID),
    sends(b"", *INVALID),
    sends(b'{"model": ', *INVALID),
    sends(b"[]", *INVALID),
    sends(b"null", *INVALID),
    sends(b'"text"', *INVALID),
    sends(b"\xff\xfe", *INVALID),
    Case("POST", "/evaluate", INVALID, json.dumps(SMALL).encode()),
    Case("POST", "/evaluate", INVALID, b"model=dummy", {"Content-Type": "application/x-www-form-urlencoded"}),
    sends(asks(tasks=[]), "refused-early"),
    sends(asks(tasks=["", ","]), "refused-early"),
    sends(asks(num_gpus=-1), "refused-early"),
    sends(asks(num_fewshot=-1), "refused-early"),
    sends(asks(batch_size="many"), "refused-early"),
    sends(asks(model="no such; model"), "refused-early"),
    sends(asks(model_args={"nested": {"a": 1}}), "refused-early"),
    sends(asks(model_args={"nothing": None}), "refused-early"),
    sends(b'{"model": "dummy", "tasks": ["mme"], "limit": NaN}', "refused-early"),
    sends(asks(gen_kwargs="a=\0"), "refused-early"),
    sends(asks(model_args={"api_key": "sk-1"}), "secrets"),
    sends(asks(gen_kwargs="temperature=0,api_key=sk-1"), "secrets"),
    sends(asks(priority="high"), "further-fields"),
    sends(asks(env={"A": "b"}), "further-fields"),
    sends(asks(gen_kwargs="x" * 300_000), "large-bodies"),
]


class Side:
    """One of the two servers: what is sent to it, and how it calls the jobs of the scene."""

    def __init__(self, session: httpx.Client) -> None:
        self.session = session
        self.jobs: dict[str, str] = {}

    def submit(self, name: str, body: dict[str, Any] = SMALL) -> Answer:
        answer = self.session.post("/evaluate", json=body)
        self.jobs[name] = answer.json()["job_id"]
        return self.seen(answer)

    def ask(self, case: Case) -> Answer:
        path = case.path
        for name, job in self.jobs.items():
            path = path.replace("{" + name + "}", job)
        request = self.session.build_request(case.method, path, content=case.content, headers=case.headers)
        if case.anonymous:
            request.headers.pop("Authorization", None)
        return self.seen(self.session.send(request))

    def seen(self, answer: httpx.Response) -> Answer:
        """The answer, with the ids of the jobs of the scene replaced by their names."""
        media, text = answer.headers.get("Content-Type", ""), answer.text
        for name, job in self.jobs.items():
            text = text.replace(job, name)
        if not text:
            return Answer(answer.status_code, "", None)
        return Answer(answer.status_code, media, json.loads(text) if "json" in media else bool(text))


@dataclass(frozen=True)
class Scene:
    """Both servers with the same jobs: failed, completed, running, waiting and cancelled ones."""

    ours: Side
    theirs: Side
    differences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def compare(self, case: Case, pair: Pair) -> None:
        """Takes the named differences out of the answers, one after the other; nothing else may be left."""
        ours, theirs = pair
        for difference in (name for name in RULES if name in case.differs):
            assert ours.said != theirs.said, f"{case} does not differ by {difference}"
            ours, theirs = RULES[difference](ours, theirs)
            self.differences[difference] += 1
        assert ours.said == theirs.said, case


async def tell(client: Transport, name: str, **status: Any) -> None:
    """What the operator would write."""
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
    await client.json_patch(EVALUATIONS, name, patch, subresource="status")


def until(side: Side, name: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while side.session.get(f"/jobs/{side.jobs[name]}").json()["status"] != status:
        assert time.monotonic() < deadline, f"{name} did not become {status}"
        time.sleep(0.02)


async def publish(client: Transport, store: ObjectStore, name: str) -> None:
    """What the reporter would do with the recorded run, and write."""
    uid = (await client.get(EVALUATIONS, name))["metadata"]["uid"]
    prefix = ArtifactPrefix(client.namespace, name, uid, 1)
    found, lines = recorded("_results.json"), recorded(f"_samples_{RECORDED_TASK}.jsonl")
    files = {layout.RESULTS_FILE: found, layout.sample_file(RECORDED_TASK): b"".join(compressed([lines]))}
    for file, content in files.items():
        await store.put(prefix.file(file), content)
    listed = [{"name": file, "bytes": len(content)} for file, content in files.items()]
    artifacts = {"uri": store.uri(prefix.path), "files": listed}
    await tell(client, name, phase="Running", reason="Evaluating", startedAt=AT)
    await tell(client, name, phase="Completed", reason="Succeeded", completedAt=AT, attempt=1, artifacts=artifacts)


def recorded(end: str) -> bytes:
    """The file of the recorded run whose name ends so."""
    (file,) = RECORDED_RUN.glob(f"*/*{end}")
    return file.read_bytes()


@pytest.fixture
async def store(s3_server: S3Server, namespace: str) -> ObjectStore:
    """The object store of the front end, with its catalogue."""
    store = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    known = Catalogue(
        tasks=[KnownTask(name=name, kind=TaskKind.TASK) for name in TASKS],
        models=[KnownModel(name=name, unavailable=reason) for name, reason in MODELS.items()],
    )
    await store.put(f"{namespace}/{layout.catalogue_file(IMAGE)}", known.model_dump_json().encode())
    return store


@contextmanager
def both(front_end: FrontEnd, upstream_server: UpstreamServer) -> Iterator[Scene]:
    with (
        front_end.session() as here,
        httpx.Client(base_url=upstream_server.url, timeout=30, trust_env=False, verify=NO_TLS) as there,
    ):
        yield Scene(Side(here), Side(there))


@pytest.fixture
async def scene(
    store: ObjectStore,
    s3_server: S3Server,
    start_front_end: StartFrontEnd,
    start_upstream_server: StartUpstreamServer,
    client: Transport,
) -> AsyncIterator[Scene]:
    front_end = start_front_end(LMMS_EVAL_CATALOGUE=IMAGE, **s3_server.environment())
    upstream_server = start_upstream_server(tasks=TASKS)
    front_end.wait_until_ready()
    with both(front_end, upstream_server) as scene:
        ours, theirs = scene.ours, scene.theirs
        for name, body in (("failed", SMALL), ("completed", RECORDED)):
            ours.submit(name, body)
            theirs.submit(name, body)
            until(theirs, name, name)
        await tell(client, ours.jobs["failed"], phase="Running", reason="Evaluating", startedAt=AT)
        await tell(
            client, ours.jobs["failed"], phase="Failed", reason="BadArguments", message="No such thing.", completedAt=AT
        )
        await publish(client, store, ours.jobs["completed"])
        with upstream_server.hold_evaluation():
            theirs.submit("running")
        ours.submit("running")
        await tell(client, ours.jobs["running"], phase="Running", reason="Evaluating", startedAt=AT)
        for side in (ours, theirs):
            for name, status in (("failed", "failed"), ("completed", "completed"), ("running", "running")):
                until(side, name, status)
        yield scene


def waiting(scene: Scene) -> Iterator[tuple[Case, Pair]]:
    """Fills both queues. A second apart: Kubernetes counts in seconds, and within one the order is arbitrary."""
    for name in ("waiting", "dropped", "later", "last"):
        if name == "later":
            delete = Case("DELETE", "/jobs/{dropped}")
            yield delete, (scene.ours.ask(delete), scene.theirs.ask(delete))
        differs = ("further-keys", "cancelled-not-counted") if name in ("later", "last") else ("further-keys",)
        yield sends(SMALL, *differs), (scene.ours.submit(name), scene.theirs.submit(name))
        time.sleep(1.05)


def placeless(answer: Answer) -> Answer:
    """Without id and position, which depend on what was sent before."""
    if not isinstance(answer.body, dict) or "job_id" not in answer.body:
        return answer
    text = re.sub(r"queue: \d+", "queue: N", json.dumps(answer.body))
    return replace(answer, body=json.loads(text) | {"job_id": "id", "position_in_queue": "N"})


def test_both_answer_alike_but_for_what_is_documented(scene: Scene, subtests: pytest.Subtests) -> None:
    for case, pair in waiting(scene):
        with subtests.test(case=str(case)):
            scene.compare(case, pair)
    for case in READS:
        with subtests.test(case=str(case)):
            scene.compare(case, (scene.ours.ask(case), scene.theirs.ask(case)))
    for case in SUBMISSIONS:
        with subtests.test(case=str(case)):
            replay(scene, case)
    with subtests.test("the files of a completed job"):
        here, there = (files(side, "completed") for side in (scene.ours, scene.theirs))
        assert scene.ours.session.get(here["results"]).json() == json.loads(Path(there["results"]).read_text())
        lines = {"Accept": "application/x-ndjson"}
        for url, path in zip(here["samples"], there["samples"], strict=True):
            assert scene.ours.session.get(url, headers=lines).text == Path(path).read_text()
    with subtests.test("a running job"):
        case = Case("DELETE", "/jobs/{running}", ("running-cancelled",))
        scene.compare(case, (scene.ours.ask(case), scene.theirs.ask(case)))
    assert [name for name, seen in scene.differences.items() if not seen] == []


def files(side: Side, name: str) -> dict[str, Any]:
    """The `result` of a job, of its one model."""
    (found,) = side.session.get(f"/jobs/{side.jobs[name]}").json()["result"].values()
    assert isinstance(found, dict)
    return found


def replay(scene: Scene, case: Case) -> None:
    """A submission, and where both have accepted it, the job that it made: what was read of the body stands there."""
    ours, theirs = scene.ours.ask(case), scene.theirs.ask(case)
    scene.compare(case, (placeless(ours), placeless(theirs)))
    made: list[Any] = [answer.body.get("job_id") for answer in (ours, theirs) if isinstance(answer.body, dict)]
    if all(made) and len(made) == 2:
        scene.ours.jobs["made"], scene.theirs.jobs["made"] = made
        read = Case("GET", "/jobs/{made}", JOB)
        scene.compare(read, (placeless(scene.ours.ask(read)), placeless(scene.theirs.ask(read))))
    for side, job in zip((scene.ours, scene.theirs), (ours, theirs), strict=True):
        if isinstance(job.body, dict) and "job_id" in job.body:
            side.session.delete(f"/jobs/{job.body['job_id']}")


def test_where_nobody_knows_the_tasks_both_say_why(
    front_end: FrontEnd, start_upstream_server: StartUpstreamServer
) -> None:
    with both(front_end, start_upstream_server()) as scene:
        for case in (Case("GET", "/tasks", ("error-text",)), Case("GET", "/models", ("catalogue", "further-keys"))):
            scene.compare(case, (scene.ours.ask(case), scene.theirs.ask(case)))
        assert scene.ours.session.get("/models").json()["error"]


def test_the_document_promises_what_that_of_the_original_does_and_asks_for_no_more(
    front_end: FrontEnd, start_upstream_server: StartUpstreamServer
) -> None:
    with both(front_end, start_upstream_server()) as scene:
        ours, theirs = (promises(side.session.get("/openapi.json").json()) for side in (scene.ours, scene.theirs))
    assert ours.keys() >= theirs.keys()
    differ = {
        f"{route}: {part}" for route, parts in theirs.items() for part in parts if not kept(part, ours[route], parts)
    }
    asked = {f"{route}: {part}" for route, parts in theirs.items() for part in more(ours[route], parts)}
    told = [row[0].strip("`") for row in rows("What the OpenAPI documents say")]
    assert {line for line in differ | asked if not line.startswith(tuple(told))} == set()
    assert [row for row in told if not any(line.startswith(row) for line in differ | asked)] == []


class Said(NamedTuple):
    """What an OpenAPI document says of a parameter, a field or an answer, without the words for people."""

    schema: str = ""
    required: bool = False


Parts = dict[str, Said]


def kept(part: str, ours: Parts, theirs: Parts) -> bool:
    """Whether what they say of a part of a route holds here."""
    here, there = ours.get(part), theirs[part]
    if part.startswith("takes"):
        return here == there
    return here is not None and here.schema == there.schema and here.required >= there.required


def more(ours: Parts, theirs: Parts) -> list[str]:
    """What only we ask for."""
    return [part for part in ours.keys() - theirs.keys() if part.startswith("takes") and ours[part].required]


def promises(document: dict[str, Any]) -> dict[str, Parts]:
    """What the document says of each route: what it takes, and what it answers."""
    return {
        f"{method.upper()} {path}": parts_of(operation, document["components"]["schemas"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def parts_of(operation: dict[str, Any], schemas: dict[str, Any]) -> Parts:
    taken = {
        f"takes {each['in']} {each['name']}": said(each["schema"], each["required"])
        for each in operation.get("parameters", ())
    }
    body = {f"takes {name}": field for name, field in fields_of(operation.get("requestBody", {}), schemas).items()}
    codes = {f"answers {status}": Said() for status in operation["responses"]}
    success = operation["responses"].get("200", {})
    answer = {f"answers with {name}": field for name, field in fields_of(success, schemas, but=("default",)).items()}
    return taken | body | codes | answer


def fields_of(content: dict[str, Any], schemas: dict[str, Any], *, but: tuple[str, ...] = ()) -> Parts:
    """The fields of a body, by name."""
    reference = content.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = schemas.get(reference.rpartition("/")[2], {})
    required = schema.get("required", ())
    return {name: said(field, name in required, but=but) for name, field in schema.get("properties", {}).items()}


def said(schema: dict[str, Any], required: bool, *, but: tuple[str, ...] = ()) -> Said:
    kept = {key: value for key, value in schema.items() if key not in ("title", "description", *but)}
    return Said(json.dumps(kept, sort_keys=True), required)


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the page."""
    section = PAGE.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def test_the_page_names_exactly_these_differences() -> None:
    assert {row[0].strip("`") for row in rows("What a caller can see")} == RULES.keys()


@pytest.mark.parametrize("heading", ["What the two servers do not show side by side", "Launch options"])
def test_what_cannot_be_replayed_has_a_test_that_exists(heading: str) -> None:
    """A table whose last column names tests."""
    for row in rows(heading):
        named = re.findall(r"(tests/\S+\.py)::(test_\w+)", row[-1])
        assert named and all(
            re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.M) for file, name in named
        ), row
