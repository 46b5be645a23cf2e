"""Responses that are large, and responses that last.

Megabytes of results that many callers ask for at once are in memory once, however slowly some of them read. A stream
that cannot be brought to its end is aborted, so that nobody takes a part for the whole.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Final, Literal, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.store.errors import StoreError

SLICE_BYTES: Final = 256 * 1024
RETRY_SECONDS: Final = 10

T = TypeVar("T")

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.live")


class PartsResponse(Response):
    """A response whose body is the concatenation of parts, which other responses may hold as well."""

    def __init__(self, parts: Sequence[bytes], *, media_type: str, headers: Mapping[str, str]) -> None:
        length = str(sum(map(len, parts)))
        super().__init__(media_type=media_type, headers={**headers, "Content-Length": length})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response as fast as its caller reads it: a server waits in `send` until there is room."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        last = b""
        for piece in cut_slices(self._parts):
            if last:
                await send({"type": "http.response.body", "body": last, "more_body": True})
            last = piece
        await send({"type": "http.response.body", "body": last})


def intersperse(items: Sequence[T], separator: T) -> list[T]:
    """Return the items with the separator between them."""
    return [part for item in items for part in (separator, item)][1:]


def cut_slices(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the concatenation of the parts in slices of `SLICE_BYTES`."""
    held: list[bytes] = []
    room = SLICE_BYTES
    for part in parts:
        start = 0
        while len(part) - start >= room:
            yield b"".join([*held, part[start : start + room]])
            start, held, room = start + room, [], SLICE_BYTES
        if rest := part[start:]:
            held.append(rest)
            room -= len(rest)
    if held:
        yield b"".join(held)


class StreamAborted(Exception):
    """The response ends here, though there is more."""


class AbortableStream(StreamingResponse):
    """A stream that ends without its last chunk when the server stops or its source fails; the connection is closed."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        *,
        stopping: asyncio.Event,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        # Proxies are neither to store nor to buffer it.
        own = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(stream_until(stopping, content), media_type=media_type, headers={**own, **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `StreamingResponse`."""
        try:
            await super().__call__(scope, receive, send)
        except StreamAborted:
            log.info("a stream was severed", extra={"path": scope["path"]})
        except (KubeError, StoreError) as error:
            log.warning("a stream was severed", extra={"path": scope["path"], "error": str(error)})


async def stream_until(stopping: asyncio.Event, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the content; raise StreamAborted as soon as the server stops."""
    stop = asyncio.create_task(stopping.wait())
    try:
        async with aclosing(content):
            while (piece := await _read_next(content, stop)) is not None:
                yield piece
    finally:
        stop.cancel()


async def _read_next(content: AsyncGenerator[bytes, None], stop: "asyncio.Task[Literal[True]]") -> bytes | None:
    step = asyncio.ensure_future(_read_piece(content))
    try:
        await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not step.done():
            raise StreamAborted
        return step.result()
    finally:
        # A generator cannot be closed while it runs.
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)


async def _read_piece(content: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(content, None)


async def start_stream(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Read the first piece and return the whole content, so that an error of its source still gets a response."""
    return prepend(await anext(content, b""), content)


async def prepend(first: bytes, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield what has been read of the content already, and the rest of it."""
    async with aclosing(content):
        yield first
        async for piece in content:
            yield piece


class ConcurrencyLimit:
    """At most `most` holders at once, any number for 0; 429 with this sentence for the next one."""

    def __init__(self, most: int, sentence: str) -> None:
        self._free = most or math.inf
        self._sentence = sentence

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold one place while the context lasts."""
        if self._free <= 0:
            raise HTTPException(429, self._sentence, {"Retry-After": str(RETRY_SECONDS)})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def hold_while_streaming(
    limit: ConcurrencyLimit,
    content: AsyncGenerator[bytes, None],
) -> AsyncGenerator[bytes, None]:
    """Return the content, which holds a place from now to its end."""
    held = _stream_holding(limit, content)
    await anext(held)
    return held


async def _stream_holding(limit: ConcurrencyLimit, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    with limit.hold():
        yield b""
        async with aclosing(content):
            async for piece in content:
                yield piece
