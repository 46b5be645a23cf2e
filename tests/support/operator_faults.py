"""A proxy that counts the operator's writes and lets one of them meet a fault: once, the k-th as the API server would see it.

`operator_stage` plays scenarios through it. What the operator's other threads write comes in no order and does not count: events
for people to read, and the record of who leads.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import aiohttp
from aiohttp import web
from operator_proxy import HOP_BY_HOP, Proxy

from lmms_eval_core import names

READS = ("GET", "HEAD")
# By then the operator has done without the write, if it ever does.
LATE_SECONDS = 5.0


class Writes(Proxy):
    """Passes on; a fault happens to write number `at`, from 1. `killed` is set by faults that end the operator."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        super().__init__(session, upstream)
        self.killed = asyncio.Event()
        self.expect(None, 0)

    def expect(self, fault: "Fault | None", at: int) -> None:
        """Counts from the beginning."""
        self._fault, self._at = fault, at
        self.seen: list[str] = []
        self.answered: asyncio.Queue[int] = asyncio.Queue()

    @property
    def hit(self) -> str:
        """The write that the fault happened to; "" as long as it has not."""
        return self.seen[self._at - 1] if self._fault and self._at <= len(self.seen) else ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forwards, or does what the fault says."""
        body = await request.read()
        if request.method in READS or _beside(request, body):
            return await super().handle(request)
        self.seen.append(_what(request))
        write = Write(self, request, body, number=len(self.seen))
        if self._fault is not None and write.number == self._at:
            return await self._fault(write)
        answer = await write.done()
        self.answered.put_nowait(write.number)
        return answer


class Write:
    """One write on its way."""

    def __init__(self, proxy: Writes, request: web.Request, body: bytes, *, number: int) -> None:
        self.proxy = proxy
        self.request = request
        self.number = number
        self._body = body

    async def done(self) -> web.Response:
        """Sends it to the API server, and returns its answer."""
        async with self.proxy.send(self.request, self._body) as answer:
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def given_up(self) -> None:
        """Until nobody waits for the answer any more."""
        # aiohttp's handlers hear nothing of it.
        while self.request.transport is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def unanswered(self) -> NoReturn:
        """The connection ends without an answer."""
        self.proxy.cut(self.request)


Fault = Callable[[Write], Awaitable[web.StreamResponse]]


async def killed_before(write: Write) -> web.StreamResponse:
    """The operator dies before the write reached the API server."""
    write.proxy.killed.set()
    await write.given_up()
    write.unanswered()


async def killed_after(write: Write) -> web.StreamResponse:
    """The operator dies before the answer reached it."""
    await write.done()
    return await killed_before(write)


async def conflict(write: Write) -> web.StreamResponse:
    """409: somebody else was faster, and is gone by now."""
    return _refusal(409, "AlreadyExists" if write.request.method == "POST" else "Conflict")


async def throttled(write: Write) -> web.StreamResponse:
    """429, with the wait that the API server asks for."""
    return _refusal(429, "TooManyRequests", {"Retry-After": "1"})


async def forbidden(write: Write) -> web.StreamResponse:
    """403: a policy of the cluster does not want it, this once."""
    return _refusal(403, "Forbidden")


async def webhook_away(write: Write) -> web.StreamResponse:
    """500: a webhook that has to judge it does not answer."""
    return _refusal(500, "InternalError", message='Internal error occurred: failed calling webhook "a.example.com"')


async def error(write: Write) -> web.StreamResponse:
    """500, and nothing was done."""
    return _refusal(500, "InternalError")


async def error_though_done(write: Write) -> web.StreamResponse:
    """500, but it was done."""
    await write.done()
    return await error(write)


async def answer_lost(write: Write) -> web.StreamResponse:
    """It was done, and then the connection broke."""
    await write.done()
    write.unanswered()


async def too_slow(write: Write) -> web.StreamResponse:
    """It was done, but the answer takes longer than the operator waits."""
    await write.done()
    await write.given_up()
    write.unanswered()


async def late(write: Write) -> web.StreamResponse:
    """It lies somewhere for longer than the operator waits, and is done after the operator's next write."""
    await write.given_up()
    try:
        async with asyncio.timeout(LATE_SECONDS):
            while await write.proxy.answered.get() < write.number:
                pass
    except TimeoutError:
        pass
    await write.done()
    write.unanswered()


KILLS: dict[str, Fault] = {"killed before": killed_before, "killed after": killed_after}
FAULTS: dict[str, Fault] = {
    "409": conflict,
    "403": forbidden,
    "429": throttled,
    "webhook away": webhook_away,
    "500": error,
    "500 though done": error_though_done,
    "answer lost": answer_lost,
    "answer too slow": too_slow,
    "done late": late,
}
# With these the operator waits in vain, as long as its patience lasts.
PATIENT = frozenset({too_slow, late})


def _beside(request: web.Request, body: bytes) -> bool:
    """Whether nothing depends on it that happens to an evaluation."""
    leads = "/leases" in request.path and names.OPERATOR_LEASE in (request.path.rpartition("/")[2], _name(request, body))
    return leads or "/events" in request.path


def _name(request: web.Request, body: bytes) -> str:
    return str(json.loads(body)["metadata"]["name"]) if request.method == "POST" else ""


def _what(request: web.Request) -> str:
    """`PATCH jobs`, `PATCH lmmevaluations/status`: without the name of the object."""
    _namespace, plural, *rest = request.path.partition("/namespaces/")[2].split("/")
    return f"{request.method} {'/'.join([plural, *rest[1:]])}"


def _refusal(code: int, reason: str, headers: dict[str, str] | None = None, message: str = "injected") -> web.Response:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
    return web.json_response({**status, "code": code, "reason": reason, "message": message}, status=code, headers=headers)
