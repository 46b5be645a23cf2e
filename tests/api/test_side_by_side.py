"""The same requests to lmms-eval's own server and to ours: they differ as docs/compatibility.md says, and not otherwise."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx
import pytest
from api_fixtures import FrontEnd
from deployment import ROOT
from upstream_fixtures import UpstreamServer

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PAGE = ROOT / "docs" / "compatibility.md"
SMALL: Final = {"model": "dummy", "tasks": ["mme"]}
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
    detail = [{key: value for key, value in item.items() if key not in ("input", "ctx")} for item in theirs.body["detail"]]
    return ours, theirs.with_body(detail=detail)


def further_keys(ours: Answer, theirs: Answer) -> Pair:
    assert ours.body.keys() > theirs.body.keys()
    return replace(ours, body={key: ours.body[key] for key in theirs.body}), theirs


def times(ours: Answer, theirs: Answer) -> Pair:
    return _dated(ours, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), _dated(theirs, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?")


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
    assert ours.status == theirs.status == 200 and ours.body.keys() <= {"models", "tasks", "error"}
    return ours, theirs


def instead(status: int, words: str, *, of: set[int], there: str = "") -> Rule:
    """Another answer altogether, whose status and words are known."""

    def rule(ours: Answer, theirs: Answer) -> Pair:
        assert ours.status == status and words in json.dumps(ours.body), ours
        assert theirs.status in of and there in json.dumps(theirs.body), theirs
        return theirs, theirs

    return rule


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
    "further-keys": further_keys,
    "times": times,
    "position-ends": position_ends,
    "cancelled-not-counted": cancelled_not_counted,
    "cancelled-at": cancelled_at,
    "error-text": error_text,
}


@dataclass(frozen=True)
class Case:
    """One request, and the rows of the page that its answers differ by. `{name}` in the path is the id of a job of the scene."""

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
    Case("GET", "/jobs/{failed}", (*JOB, "position-ends", "error-text")),
    Case("GET", "/jobs/{dropped}", (*JOB, "position-ends", "cancelled-at")),
    Case("GET", "/queue"),
    Case("GET", "/health", ("times", "cancelled-not-counted")),
    Case("GET", "/queue", ("authentication",), anonymous=True),
    Case("GET", "/docs", ("authentication",), anonymous=True),
    Case("GET", "/docs"),
    Case("GET", "/redoc"),
    Case("GET", "/docs/oauth2-redirect"),
    Case("GET", "/tasks", ("catalogue", "error-text")),
    Case("GET", "/jobs/nothing", ERROR),
    Case("GET", "/jobs/00000000-0000-4000-8000-000000000000", ERROR),
    Case("GET", "/jobs/%2e%2e", ERROR),
    Case("GET", "/jobs/a%2Fb", ERROR),
    Case("GET", "/jobs/A B", ERROR),
    Case("DELETE", "/jobs/nothing", ERROR),
    Case("DELETE", "/jobs/{dropped}", ERROR),
    Case("DELETE", "/jobs/{failed}", ERROR),
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
    sends(asks(priority="high"), "further-fields"),
    sends(asks(env={"A": "b"}), "further-fields"),
    sends(asks(gen_kwargs="x" * 300_000), "large-bodies"),
]


class Side:
    """One of the two servers: what is sent to it, and how it calls the jobs of the scene."""

    def __init__(self, session: httpx.Client) -> None:
        self.session = session
        self.jobs: dict[str, str] = {}

    def submit(self, name: str) -> Answer:
        answer = self.session.post("/evaluate", json=SMALL)
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
        return Answer(answer.status_code, media, json.loads(text) if "json" in media else bool(text))


@dataclass(frozen=True)
class Scene:
    """Both servers with the same jobs: one that failed, one that runs, two that wait and one that was cancelled."""

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
    deadline = time.monotonic() + 30
    while side.session.get(f"/jobs/{side.jobs[name]}").json()["status"] != status:
        assert time.monotonic() < deadline, f"{name} did not become {status}"
        time.sleep(0.02)


@pytest.fixture
async def scene(front_end: FrontEnd, upstream_server: UpstreamServer, client: Transport) -> Any:
    with front_end.session() as here, httpx.Client(base_url=upstream_server.url, timeout=30, trust_env=False) as there:
        scene = Scene(Side(here), Side(there))
        ours, theirs = scene.ours, scene.theirs
        for side in (ours, theirs):
            side.submit("failed")
        at = "2026-01-01T00:00:00Z"
        await tell(client, ours.jobs["failed"], phase="Running", reason="Evaluating", startedAt=at)
        await tell(client, ours.jobs["failed"], phase="Failed", reason="BadArguments", message="No such thing.", completedAt=at)
        until(theirs, "failed", "failed")
        with upstream_server.held():
            theirs.submit("running")
        ours.submit("running")
        await tell(client, ours.jobs["running"], phase="Running", reason="Evaluating", startedAt=at)
        for side in (ours, theirs):
            until(side, "running", "running")
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
    with subtests.test("a running job"):
        case = Case("DELETE", "/jobs/{running}", ("running-cancelled",))
        scene.compare(case, (scene.ours.ask(case), scene.theirs.ask(case)))
    assert [name for name, seen in scene.differences.items() if not seen] == []


def replay(scene: Scene, case: Case) -> None:
    """A submission, and where both have accepted it, the job that it made: what was read of the body stands there."""
    ours, theirs = scene.ours.ask(case), scene.theirs.ask(case)
    scene.compare(case, (placeless(ours), placeless(theirs)))
    made = [answer.body.get("job_id") for answer in (ours, theirs) if isinstance(answer.body, dict)]
    if all(made) and len(made) == 2:
        scene.ours.jobs["made"], scene.theirs.jobs["made"] = made
        read = Case("GET", "/jobs/{made}", JOB)
        scene.compare(read, (placeless(scene.ours.ask(read)), placeless(scene.theirs.ask(read))))
    for side, job in zip((scene.ours, scene.theirs), (ours, theirs), strict=True):
        if isinstance(job.body, dict) and "job_id" in job.body:
            side.session.delete(f"/jobs/{job.body['job_id']}")


def test_the_document_has_every_route_of_the_original(scene: Scene) -> None:
    ours, theirs = (side.session.get("/openapi.json").json()["paths"] for side in (scene.ours, scene.theirs))
    assert ours.keys() >= theirs.keys()
    assert {path: ours[path].keys() >= methods.keys() for path, methods in theirs.items()} == dict.fromkeys(theirs, True)


def test_both_list_models_in_one_form(scene: Scene) -> None:
    """Theirs needs no torch for it; ours has no catalogue here."""
    ours, theirs = (side.session.get("/models").json() for side in (scene.ours, scene.theirs))
    assert (ours["models"], bool(ours["error"])) == ([], True)
    assert theirs["models"] == sorted(theirs["models"])


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the page."""
    section = PAGE.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in table[2:]]


def test_the_page_names_exactly_these_differences() -> None:
    assert {row[0].strip("`") for row in rows("What a caller can see")} == RULES.keys()


def test_what_cannot_be_replayed_has_a_test_that_exists() -> None:
    for row in rows("What the two servers do not show side by side"):
        file, _, name = row[3].partition("::")
        assert f"def {name}" in (ROOT / file).read_text(), row[3]
