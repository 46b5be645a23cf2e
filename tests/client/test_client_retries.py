"""Wire faults that no real server shows on demand: what is sent again, when, and what is told in the end."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lmms_eval_client import (
    AnswerUnreadable,
    AsyncClient,
    Client,
    EvaluateRequest,
    NotAuthorized,
    NotFound,
    RequestInvalid,
    Retries,
    ServerBusy,
    ServerRefused,
    ServerUnreachable,
)
from lmms_eval_client.retries import can_repeat

AT_ONCE = Retries(first_pause=0.0, longest_pause=0.0)
HEALTHY = httpx.Response(200, json={"status": "healthy"})
SUBMITTED = httpx.Response(200, json={"job_id": "a", "position_in_queue": 0})

Answer = httpx.Response | type[httpx.TransportError]


class Script:
    """A server that gives these answers, one after the other."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = iter(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, type):
            raise answer("gone", request=request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client(script: Script, retries: Retries = AT_ONCE) -> Client:
    return Client("http://test", retries=retries, transport=httpx.MockTransport(script))


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(429),
        httpx.Response(503),
        httpx.Response(502),
        httpx.ReadError,
        httpx.ConnectError,
        httpx.ReadTimeout,
    ],
)
def test_what_may_be_repeated_is_repeated(trouble: Answer) -> None:
    script = Script(trouble, trouble, HEALTHY)
    with client(script) as ours:
        assert ours.is_healthy()
    assert len(script.requests) == 3


async def test_by_the_async_client_too() -> None:
    script = Script(httpx.ReadError, httpx.Response(503), HEALTHY)
    async with AsyncClient("http://test", retries=AT_ONCE, transport=httpx.MockTransport(script)) as ours:
        assert await ours.is_healthy()
    assert len(script.requests) == 3


def test_a_submission_is_sent_again_under_its_own_key() -> None:
    script = Script(httpx.ReadError, httpx.Response(503), SUBMITTED, SUBMITTED)
    with client(script) as ours:
        assert ours.evaluate("m", ["t"])["job_id"] == "a"
        ours.submit(EvaluateRequest(model="m", tasks=["t"]))
    first, second, third, other = (request.headers["Idempotency-Key"] for request in script.requests)
    assert first == second == third != other


def test_a_cancellation_whose_answer_is_lost_is_not_sent_again() -> None:
    script = Script(httpx.ReadError)
    with client(script) as ours, pytest.raises(ServerUnreachable):
        ours.cancel("a")
    script = Script(httpx.ConnectError, httpx.Response(200, json={"message": "Job a cancelled"}))
    with client(script) as ours:
        assert ours.cancel("a") == "Job a cancelled"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestInvalid),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, NotFound),
        (409, RequestInvalid),
        (422, RequestInvalid),
        (500, ServerRefused),
        (501, ServerRefused),
    ],
)
def test_what_is_refused_is_refused_at_once(status: int, error: type[ServerRefused]) -> None:
    script = Script(httpx.Response(status, json={"detail": "Because."}, headers={"X-Request-ID": "r1"}))
    with client(script) as ours, pytest.raises(error) as caught:
        ours.get_job("a")
    assert (caught.value.detail, caught.value.status_code, caught.value.request_id) == ("Because.", status, "r1")
    assert str(caught.value) == f"Because. (HTTP {status})"
    assert caught.value.response.json() == {"detail": "Because."}


def test_wrong_fields_are_named() -> None:
    detail = [{"loc": ["body", "tasks", 0], "msg": "Give a name."}, {"loc": ["body"], "msg": "Too much."}, "?"]
    with client(Script(httpx.Response(422, json={"detail": detail}))) as ours, pytest.raises(RequestInvalid) as caught:
        ours.evaluate("m", [])
    assert caught.value.detail == "tasks.0: Give a name.; Too much.; ?"


def test_patience_ends() -> None:
    script = Script(*[httpx.Response(503, json={"detail": "Away."})] * 3)
    with (
        client(script, Retries(attempts=3, first_pause=0, longest_pause=0)) as ours,
        pytest.raises(ServerBusy, match="Away."),
    ):
        ours.health()
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, text="<html>"), "did not answer in JSON"),
        (httpx.Response(200, json=[1]), "answered with list"),
        (httpx.Response(307, headers={"Location": "https://there/"}), "redirects to https://there/: use that"),
        (httpx.Response(500, text="Internal\nError"), "Internal"),
        (httpx.Response(500), "Internal Server Error"),
    ],
)
def test_strange_answers_are_told(answer: httpx.Response, words: str) -> None:
    with client(Script(answer)) as ours, pytest.raises((AnswerUnreadable, ServerRefused), match=words):
        ours.health()


def test_an_answer_of_another_kind_is_told() -> None:
    with (
        client(Script(httpx.Response(200, json={"no": "job"}))) as ours,
        pytest.raises(AnswerUnreadable, match="JobInfo"),
    ):
        ours.job("a")


def test_the_pause_doubles_with_jitter_up_to_its_bound() -> None:
    def pauses(value: float) -> list[float | None]:
        retries = Retries(first_pause=1.0, longest_pause=5.0, random=lambda: value)
        return [retries.pause(httpx.Response(503), attempt=attempt, of=6, repeatable=True) for attempt in range(1, 7)]

    assert pauses(0.0) == [0.5, 1.0, 2.0, 2.5, 2.5, None]
    assert pauses(1.0) == [1.0, 2.0, 4.0, 5.0, 5.0, None]


@pytest.mark.parametrize(
    ("header", "pause"), [("7", 8.0), ("", 1.0), ("soon", 1.0), ("-1", 1.0), ("120", 121.0), ("121", None)]
)
def test_retry_after_is_honoured_within_reason(header: str, pause: float | None) -> None:
    answer = httpx.Response(429, headers={"Retry-After": header})
    retries = Retries(first_pause=1.0, random=lambda: 1.0)
    assert retries.pause(answer, attempt=1, of=2, repeatable=False) == pause


@pytest.mark.parametrize(
    ("outcome", "repeatable", "again"),
    [
        (httpx.ConnectTimeout("x"), False, True),
        (httpx.ReadTimeout("x"), False, False),
        (httpx.UnsupportedProtocol("x"), True, False),
        (httpx.Response(504), False, False),
        (httpx.Response(504), True, True),
        (httpx.Response(400), True, False),
    ],
)
def test_what_must_not_happen_twice_is_sent_again_only_if_it_did_not_happen(
    outcome: Any, repeatable: bool, again: bool
) -> None:
    assert can_repeat(outcome, repeatable=repeatable) is again


def test_job_ids_and_tasks_are_parts_of_a_path_and_no_more() -> None:
    script = Script(*[httpx.Response(404)] * 2)
    asks: list[Callable[[Client], object]] = [
        lambda ours: ours.get_job("../queue?x=1"),
        lambda ours: next(ours.samples("a", "b/c")),
    ]
    with client(script) as ours:
        for ask in asks:
            with pytest.raises(NotFound):
                ask(ours)
    paths = [request.url.raw_path.decode() for request in script.requests]
    assert paths == ["/jobs/..%2Fqueue%3Fx%3D1", "/jobs/a/samples/b%2Fc?limit=100"]


def test_unset_fields_are_not_sent_and_others_are() -> None:
    script = Script(SUBMITTED, SUBMITTED)
    with client(script) as ours:
        ours.evaluate("m", ["t"], {"pretrained": "a/b"}, priority=3, hold=None, dry_run=True)
        ours.submit(EvaluateRequest(model="m", tasks=["t"], labels={"a": "b"}))
    assert script.requests[0].url.query == b"dryRun=true"
    assert json.loads(script.requests[0].content) == {
        "model": "m",
        "tasks": ["t"],
        "model_args": {"pretrained": "a/b"},
        "log_samples": True,
        "predict_only": False,
        "num_gpus": 1,
        "priority": 3,
    }
    assert json.loads(script.requests[1].content)["labels"] == {"a": "b"}
