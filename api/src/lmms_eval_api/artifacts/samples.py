"""Samples out of the store: a page from any place in the file, or the whole file, in bounded memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import chain
from typing import NamedTuple, ParamSpec, TypeVar

from lmms_eval_api.artifacts.cursor import InvalidCursor, Position
from lmms_eval_api.artifacts.frames import Damaged, Frames, Line, Lines, batches, behind, joined
from lmms_eval_api.artifacts.judge import Verdict
from lmms_eval_api.artifacts.page import Page, shown
from lmms_eval_api.artifacts.sanitise import LineSanitiser
from lmms_eval_api.artifacts.store import Store, pieces
from lmms_eval_core.store.errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")


class Wanted(NamedTuple):
    """Which samples: of the file `key`, those of the verdict, or all."""

    key: str
    verdict: Verdict | None = None


class Samples:
    """Every method raises StoreError. Pages take turns: each holds up to 32 MiB while it is made."""

    def __init__(self, store: Store, *, at_once: int = 4) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(at_once)
        # Of its own: the event loop's threads look up names.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="samples")

    async def page(self, wanted: Wanted, *, start: Position, limit: int) -> Page:
        """The samples from `start` on; InvalidCursor if no frame begins there."""
        page = Page(limit, wanted.verdict)
        async with self._turns, aclosing(self._lines(wanted.key, start)) as found:
            async for batch in found:
                await self._threaded(_fill, page, batch)
                if page.full:
                    break
        return page

    async def whole(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The file, or what the verdict wants of it, as lines of JSON."""
        source = self._everything(wanted.key) if wanted.verdict is None else self._matching(wanted.key, wanted.verdict)
        async with aclosing(source) as found:
            async for piece in found:
                yield piece

    async def content(self, key: str) -> AsyncGenerator[bytes, None]:
        """The file as it was before it was compressed, in pieces of about a megabyte."""
        frames = Frames()
        try:
            async with aclosing(pieces(self._store, key)) as compressed:
                async for data in compressed:
                    async for piece in self._in_thread(joined(frames.feed(data))):
                        yield piece
        except Damaged:
            raise _damaged(key) from None

    async def _everything(self, key: str) -> AsyncGenerator[bytes, None]:
        sanitiser = LineSanitiser()
        async with aclosing(self.content(key)) as contents:
            async for content in contents:
                yield await self._threaded(sanitiser.feed, content)
        yield sanitiser.rest()

    async def _matching(self, key: str, verdict: Verdict) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._lines(key, Position())) as found:
            async for batch in found:
                yield await self._threaded(_matching, batch, verdict)

    async def _lines(self, key: str, start: Position) -> AsyncGenerator[list[Line], None]:
        frames, lines = Frames(start.frame), Lines()
        try:
            async with aclosing(pieces(self._store, key, start=start.frame)) as compressed:
                async for data in compressed:
                    found = chain.from_iterable(map(lines.feed, behind(frames.feed(data), start)))
                    async for batch in self._in_thread(batches(found)):
                        yield batch
        except (Damaged, StoreError) as error:
            # Of the store's errors, one without a name of its own: nothing is there to be read from that byte on.
            if start.frame and type(error) in (Damaged, StoreError):
                raise InvalidCursor from error
            raise _damaged(key) if isinstance(error, Damaged) else error from None
        yield list(lines.rest())

    async def _in_thread(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        while (item := await self._threaded(_next, items)) is not None:
            yield item

    async def _threaded(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))


def _next(items: Iterator[T]) -> T | None:
    return next(items, None)


def _fill(page: Page, lines: list[Line]) -> None:
    for line in lines:
        page.add(line)
        if page.full:
            return


def _matching(lines: list[Line], verdict: Verdict) -> bytes:
    return b"".join(shown(line) + b"\n" for line in lines if verdict(line.text))


def _damaged(key: str) -> StoreError:
    return StoreError(f"{key} is not what was stored: it cannot be decompressed")
