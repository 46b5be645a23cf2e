"""A proxy that counts the operator's writes and injects a fault into one of them, given by its number.

`scenario_runner` plays scenarios through it. Events and the leader's lease do not count, since their order among the
other writes is not fixed.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import aiohttp
from aiohttp import web
from api_server_proxy import HOP_BY_HOP, ApiServerProxy

from lmms_eval_core import names

READS = ("GET", "HEAD")
# How long `delay_write` waits for the operator's next write.
LATE_SECONDS = 5.0


class FaultProxy(ApiServerProxy):
    """Forwards requests; the fault replaces write number `at`, from 1. Faults that kill the operator set `killed`."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        super().__init__(session, upstream)
        self.killed = asyncio.Event()
        self.under_way = 0
        self.set_fault(None, 0)

    def set_fault(self, fault: "WriteFault | None", at: int) -> None:
        """Set the fault and the number of its write, and restart the count."""
        self._fault, self._at = fault, at
        self.seen: list[str] = []
        self.answered: asyncio.Queue[int] = asyncio.Queue()

    @property
    def hit(self) -> str:
        """The write into which the fault was injected; "" before that."""
        return self.seen[self._at - 1] if self._fault and self._at <= len(self.seen) else ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward the request, or inject the fault into it. `under_way` counts those that are not answered yet."""
        if "watch" in request.query:
            return await super().handle(request)
        self.under_way += 1
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method in READS or _is_unordered(request, body):
            return await super().handle(request)
        self.seen.append(_describe(request))
        write = Write(self, request, body, number=len(self.seen))
        if self._fault is not None and write.number == self._at:
            return await self._fault(write)
        answer = await write.forward()
        self.answered.put_nowait(write.number)
        return answer


class Write:
    """One write that the API server has not seen yet."""

    def __init__(self, proxy: FaultProxy, request: web.Request, body: bytes, *, number: int) -> None:
        self.proxy = proxy
        self.request = request
        self.number = number
        self._body = body

    async def forward(self) -> web.Response:
        """Send the write to the API server; return its answer."""
        async with self.proxy.send(self.request, self._body) as answer:
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def wait_for_disconnect(self) -> None:
        """Wait until the operator has closed the connection."""
        # aiohttp does not notify its handlers of that.
        while self.request.transport is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def disconnect(self) -> NoReturn:
        """Close the connection without an answer."""
        self.proxy.cut(self.request)


WriteFault = Callable[[Write], Awaitable[web.StreamResponse]]


async def kill_before_write(write: Write) -> web.StreamResponse:
    """Kill the operator; the write does not reach the API server."""
    write.proxy.killed.set()
    await write.wait_for_disconnect()
    write.disconnect()


async def kill_after_write(write: Write) -> web.StreamResponse:
    """Forward the write, and kill the operator before it has the answer."""
    await write.forward()
    return await kill_before_write(write)


async def answer_conflict(write: Write) -> web.StreamResponse:
    """Answer 409, as after another client's write, which is undone by now."""
    return _build_status(409, "AlreadyExists" if write.request.method == "POST" else "Conflict")


async def answer_throttled(write: Write) -> web.StreamResponse:
    """Answer 429 with a Retry-After header."""
    return _build_status(429, "TooManyRequests", {"Retry-After": "1"})


async def answer_forbidden(write: Write) -> web.StreamResponse:
    """Answer 403, as a policy of the cluster does."""
    return _build_status(403, "Forbidden")


async def answer_webhook_failure(write: Write) -> web.StreamResponse:
    """Answer 500, as while an admission webhook is unavailable."""
    message = 'Internal error occurred: failed calling webhook "a.example.com"'
    return _build_status(500, "InternalError", message=message)


async def answer_error(write: Write) -> web.StreamResponse:
    """Answer 500 without forwarding the write."""
    return _build_status(500, "InternalError")


async def answer_error_after_write(write: Write) -> web.StreamResponse:
    """Forward the write, but answer 500."""
    await write.forward()
    return await answer_error(write)


async def lose_answer(write: Write) -> web.StreamResponse:
    """Forward the write, and close the connection without an answer."""
    await write.forward()
    write.disconnect()


async def delay_answer(write: Write) -> web.StreamResponse:
    """Forward the write, and answer nothing until the operator's timeout."""
    await write.forward()
    await write.wait_for_disconnect()
    write.disconnect()


async def delay_write(write: Write) -> web.StreamResponse:
    """Forward the write only after the operator's timeout and its next write."""
    await write.wait_for_disconnect()
    try:
        async with asyncio.timeout(LATE_SECONDS):
            while await write.proxy.answered.get() < write.number:
                pass
    except TimeoutError:
        pass
    await write.forward()
    write.disconnect()


KILLS: dict[str, WriteFault] = {"killed before": kill_before_write, "killed after": kill_after_write}
FAULTS: dict[str, WriteFault] = {
    "409": answer_conflict,
    "403": answer_forbidden,
    "429": answer_throttled,
    "webhook away": answer_webhook_failure,
    "500": answer_error,
    "500 though done": answer_error_after_write,
    "answer lost": lose_answer,
    "answer too slow": delay_answer,
    "done late": delay_write,
}
# With these the operator waits until its timeout.
TIMEOUT_FAULTS = frozenset({delay_answer, delay_write})


def _is_unordered(request: web.Request, body: bytes) -> bool:
    """Whether the write concerns an event or the leader's lease."""
    if "/events" in request.path:
        return True
    if "/leases" not in request.path:
        return False
    return names.OPERATOR_LEASE in (request.path.rpartition("/")[2], _read_name(request, body))


def _read_name(request: web.Request, body: bytes) -> str:
    return str(json.loads(body)["metadata"]["name"]) if request.method == "POST" else ""


def _describe(request: web.Request) -> str:
    """Return method and resource, such as `PATCH lmmevaluations/status`, without the object's name."""
    _namespace, plural, *rest = request.path.partition("/namespaces/")[2].split("/")
    return f"{request.method} {'/'.join([plural, *rest[1:]])}"


def _build_status(
    code: int,
    reason: str,
    headers: dict[str, str] | None = None,
    message: str = "injected",
) -> web.Response:
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}}
    status |= {"code": code, "reason": reason, "message": message}
    return web.json_response(status, status=code, headers=headers)
