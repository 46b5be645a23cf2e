"""How much one caller may ask for; by a clock of the test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lmms_eval_api.auth.attributes import is_stream
from lmms_eval_api.server.limits import OpenStreams, RateLimit, RequestLimits
from lmms_eval_api.settings import ApiSettings


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_a_rate_then_the_burst_again() -> None:
    clock = Clock()
    rate = RateLimit(10.0, 5, clock=clock)
    assert [rate.take("a") for _ in range(5)] == [0.0] * 5
    assert rate.take("a") == pytest.approx(0.1)
    assert rate.take("b") == 0.0
    clock.now = 0.1
    assert rate.take("a") == 0.0
    assert rate.take("a") > 0
    clock.now = 10
    assert [rate.take("a") for _ in range(6)][:5] == [0.0] * 5


@given(st.integers(1, 50), st.integers(1, 50), st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_burst_and_rate_and_the_wait_is_enough(
    per_second: int, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    rate = RateLimit(per_second, burst, clock=clock)
    for let_in, pause in enumerate(pauses, 1):
        clock.now += pause
        wait = rate.take("a")
        if wait:
            clock.now += wait + 1e-6
            assert rate.take("a") == 0.0
        assert let_in <= burst + per_second * clock.now + 1


def test_callers_who_left_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_api.server.limits.CALLERS", 10)
    clock = Clock()
    rate = RateLimit(1.0, 5, clock=clock)
    for number in range(1000):
        clock.now += 1
        rate.take(f"caller {number}")
    assert len(rate._due) <= 11


Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


class Ask:
    """Requests through the middleware, to an application that answers 200."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.streams = Clock(), OpenStreams()
        self.gate = asyncio.Event()
        chosen = ApiSettings(**settings)
        self.limits = RequestLimits(self._answer, settings=chosen, open_streams=self.streams, clock=self.clock)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_stream(scope["method"], scope["path"]):
            await self.gate.wait()
        await Response()(scope, receive, send)

    async def __call__(self, method: str, path: str, caller: str | None = "a") -> tuple[int, str]:
        told: dict[str, Any] = {}

        async def send(message: Any) -> None:
            told.update(message)

        async def receive() -> Any:
            raise AssertionError("no body is read")

        state = {"caller": caller} if caller else {}
        await self.limits(
            {"type": "http", "method": method, "path": path, "headers": [], "state": state}, receive, send
        )
        return told["status"], dict(told["headers"]).get(b"retry-after", b"").decode()


async def test_requests_and_submissions_of_one_caller() -> None:
    ask = Ask(requests_per_second=10, submissions_per_minute=6, submission_burst=2, root_path="/prefix")
    assert [await ask("POST", path) for path in ("/evaluate", "/prefix/evaluate", "/evaluate")] == [
        (200, ""),
        (200, ""),
        (429, "10"),
    ]
    assert [(await ask("GET", "/queue"))[0] for _ in range(20)] == [200] * 17 + [429] * 3
    assert await ask("GET", "/queue") == (429, "1")
    assert await ask("GET", "/queue", caller="b") == (200, "")
    assert await ask("GET", "/livez", caller=None) == (200, "")
    ask.clock.now = 10
    assert await ask("POST", "/evaluate") == (200, "")


async def test_zero_is_no_limit() -> None:
    ask = Ask(requests_per_second=0, submissions_per_minute=0, max_streams=0)
    assert {await ask("POST", "/evaluate") for _ in range(3000)} == {(200, "")}


async def test_an_honest_client_meets_no_limit() -> None:
    """Fifty that wait, each asking twenty times a second, all with one token, and a sweep of submissions."""
    ask = Ask()
    assert {await ask("POST", "/evaluate") for _ in range(900)} == {(200, "")}
    for _ in range(20 * 30):
        ask.clock.now += 0.05
        assert {await ask("GET", "/jobs/a") for _ in range(50)} == {(200, "")}


async def test_streams_are_counted_while_they_are_open() -> None:
    ask = Ask(max_streams=2)
    open_ = [asyncio.create_task(ask("GET", path)) for path in ("/jobs/a/events", "/jobs/b/logs")]
    await asyncio.sleep(0.01)
    assert ask.streams.count == 2
    assert await ask("GET", "/jobs/a/events") == (503, "10")
    assert await ask("GET", "/jobs/a") == (200, "")
    open_[0].cancel()
    await asyncio.sleep(0.01)
    assert ask.streams.count == 1
    ask.gate.set()
    assert await ask("GET", "/jobs/a/events") == (200, "")
    assert await open_[1] == (200, "")
    assert ask.streams.count == 0
