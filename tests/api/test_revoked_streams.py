"""Whoever follows events or a log is looked at again: the stream breaks off soon after the right to it,
and not before.
"""

import asyncio
import time
from collections.abc import Callable

import pytest
from front_end_fixtures import TOKEN, FrontEnd
from mounted_secret import mount_secret
from starlette.types import ASGIApp, Message, Scope
from streams import follow_until_severed, open_session

from lmms_eval_api.auth import Caller, middleware
from lmms_eval_api.auth.attributes import ResourceAttributes
from lmms_eval_api.auth.authenticator import TokenSource
from lmms_eval_api.auth.middleware import Authentication
from lmms_eval_api.auth.sessions import SessionSeal
from lmms_eval_api.problems import make_unavailable
from lmms_eval_api.settings import ApiSettings
from lmms_eval_core.kube.errors import Unavailable

SOON = 0.01
# Until a token's file is seen to be gone, and until the streams are looked at.
LOOKED_AT = 1 + middleware.REAUTHORIZE_SECONDS + 1
# On a slow machine.
SECONDS = LOOKED_AT + 20


class Mood:
    """An `Authenticator` that changes its mind."""

    how_to_get_a_token = TokenSource("", "")
    instructions = "Go away."

    def __init__(self) -> None:
        self.known = True
        self.allowed = True
        self.trouble: Exception | None = None
        self.asked = 0

    async def identify(self, authorization: bytes) -> Caller | None:
        self.asked += 1
        if self.trouble:
            raise self.trouble
        return Caller("somebody") if self.known else None

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        return None if self.allowed else "You may not."


def scope(path: str) -> Scope:
    return {"type": "http", "method": "GET", "path": path, "headers": [], "state": {}}


async def nothing() -> Message:
    raise AssertionError("read")


async def ignored(message: Message) -> None:
    """Nobody reads it."""


async def endless(*call: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "front_end" not in request.fixturenames:
        monkeypatch.setattr(middleware, "REAUTHORIZE_SECONDS", SOON)


async def until_asked(mood: Mood, times: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            if mood.asked >= times:
                return
            await asyncio.sleep(SOON)


def refuse(mood: Mood) -> None:
    mood.allowed = False


def forget(mood: Mood) -> None:
    mood.known = False


@pytest.mark.parametrize("path", ["/jobs/a/events", "/jobs/a/logs"])
@pytest.mark.parametrize(("change", "reason"), [(forget, "unauthenticated"), (refuse, "forbidden")])
async def test_it_breaks_off_when_its_caller_has_lost_the_right(
    path: str, change: Callable[[Mood], None], reason: str
) -> None:
    mood, asked = Mood(), scope(path)
    answering = asyncio.create_task(_answer(mood, asked))
    await until_asked(mood, 2)
    assert not answering.done()
    change(mood)
    async with asyncio.timeout(SECONDS):
        await answering
    assert asked["state"]["rejected"] == reason


@pytest.mark.parametrize("trouble", [Unavailable("away"), make_unavailable("busy")])
async def test_it_goes_on_while_nobody_can_tell(trouble: Exception) -> None:
    mood = Mood()
    answering = asyncio.create_task(_answer(mood, scope("/jobs/a/events")))
    await asyncio.sleep(0)
    mood.trouble = trouble
    await until_asked(mood, 3)
    assert not answering.done()
    answering.cancel()


async def test_one_that_breaks_by_itself_says_so() -> None:
    async def broken(*call: object) -> None:
        await asyncio.sleep(2 * SOON)
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        await authenticate(broken, Mood())(scope("/jobs/a/events"), nothing, ignored)


async def test_one_whose_caller_hangs_up_is_not_left_behind() -> None:
    ended = asyncio.Event()

    async def lasting(*call: object) -> None:
        try:
            await endless()
        finally:
            ended.set()

    answering = asyncio.create_task(authenticate(lasting, Mood())(scope("/jobs/a/events"), nothing, ignored))
    await asyncio.sleep(2 * SOON)
    answering.cancel()
    await asyncio.wait({answering})
    assert answering.cancelled() and ended.is_set()


async def _answer(mood: Mood, asked: Scope) -> None:
    await authenticate(endless, mood)(asked, nothing, ignored)


def authenticate(app: ASGIApp, mood: Mood) -> Authentication:
    return Authentication(app, authenticator=mood, sessions=SessionSeal([b""]), settings=ApiSettings())


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_a_token_that_is_taken_away_ends_what_was_opened_with_it(front_end: FrontEnd) -> None:
    mount_secret(front_end.tokens, tests=TOKEN, other="another-token")
    await asyncio.sleep(1.1)
    with front_end.session() as session:
        job = session.post("/evaluate", json={"model": "llava_hf", "tasks": ["mme"]}).json()["job_id"]
    paths = (f"/jobs/{job}/events", f"/jobs/{job}/logs?follow=true")
    async with open_session(front_end, TOKEN) as taken, open_session(front_end, "another-token") as other:
        ends = [await follow_until_severed(taken, path) for path in paths]
        stays = [await follow_until_severed(other, path) for path in paths]
        assert not any(stream.done() for stream in ends)
        began = time.monotonic()
        mount_secret(front_end.tokens, other="another-token")
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*ends)
        # Those of the other one have been looked at again as well.
        await asyncio.sleep(LOOKED_AT - (time.monotonic() - began))
        assert not any(stream.done() for stream in stays)
        for stream in stays:
            stream.cancel()
    front_end.wait_for_log('"rejected":"unauthenticated"')
