"""Answers that last, and how many of them there may be at once.

One that cannot be brought to its end breaks off, so that nobody takes a part for the whole.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Final, Literal

from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.store.errors import StoreError

RETRY_SECONDS: Final = 10

log = logging.getLogger("lmms_eval_api.live")


class Severed(Exception):
    """The answer ends here, though there is more."""


class Lasting(StreamingResponse):
    """A stream that a stop of the server, or trouble at its source, severs: the connection is closed without the last chunk."""

    def __init__(
        self, content: AsyncGenerator[bytes, None], *, stopping: asyncio.Event, media_type: str, headers: Mapping[str, str]
    ) -> None:
        # Neither kept nor collected by proxies.
        own = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(until(stopping, content), media_type=media_type, headers={**own, **headers})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `StreamingResponse`."""
        try:
            await super().__call__(scope, receive, send)
        except Severed:
            log.info("a stream was severed", extra={"path": scope["path"]})
        except (KubeError, StoreError) as error:
            log.warning("a stream was severed", extra={"path": scope["path"], "error": str(error)})


async def until(stopping: asyncio.Event, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The content; Severed as soon as the server stops."""
    stop = asyncio.create_task(stopping.wait())
    try:
        async with aclosing(content):
            while (piece := await _next(content, stop)) is not None:
                yield piece
    finally:
        stop.cancel()


async def _next(content: AsyncGenerator[bytes, None], stop: "asyncio.Task[Literal[True]]") -> bytes | None:
    step = asyncio.ensure_future(_step(content))
    try:
        await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not step.done():
            raise Severed
        return step.result()
    finally:
        # A generator cannot be closed while it runs.
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)


async def _step(content: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(content, None)


async def begun(content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The content, of which the first piece has come: what stands in its way is raised while there can be another answer."""
    return preceded(await anext(content, b""), content)


async def preceded(first: bytes, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """What has been read of the content already, and the rest of it."""
    async with aclosing(content):
        yield first
        async for piece in content:
            yield piece


class Turns:
    """So many at once, any number for 0, and 429 for the next one."""

    def __init__(self, most: int, sentence: str) -> None:
        self._free = most or math.inf
        self._sentence = sentence

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them, for as long as this lasts."""
        if self._free <= 0:
            raise HTTPException(429, self._sentence, {"Retry-After": str(RETRY_SECONDS)})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def taking(turns: Turns, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The content, which has its turn from now to its end."""
    held = _held(turns, content)
    await anext(held)
    return held


async def _held(turns: Turns, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    with turns.taken():
        yield b""
        async with aclosing(content):
            async for piece in content:
                yield piece
