"""Samples out of the store: a page from any place in the file, or the whole file, in bounded memory.

Threads decompress, without Python's lock; what looks into the content runs in the worker process.
Between two calls the state of a reading is here, so that the worker owes nobody anything.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import NamedTuple, ParamSpec, TypeVar

from lmms_eval_api.artifacts.cursor import InvalidCursor, Position
from lmms_eval_api.artifacts.frames import Damaged, Frames, Lines, Piece, behind, groups, joined
from lmms_eval_api.artifacts.normaliser import StreamNormaliser
from lmms_eval_api.artifacts.sample_filter import Selection, verdict
from lmms_eval_api.artifacts.sample_page import Page, shown
from lmms_eval_api.artifacts.store import Store, Unusable, pieces
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core.store.errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")


class Wanted(NamedTuple):
    """Which samples: of the file `key`, those of the selection."""

    key: str
    selection: Selection = Selection()


class Samples:
    """Every method raises StoreError. Pages take turns: each holds up to 32 MiB while it is made."""

    def __init__(self, store: Store, worker: Worker, *, at_once: int = 2) -> None:
        self._store = store
        self._worker = worker
        self._turns = asyncio.Semaphore(at_once)
        # Of its own: the event loop's threads look up names.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="samples")

    async def page(self, wanted: Wanted, *, start: Position, limit: int) -> Page:
        """The samples from `start` on; InvalidCursor if no frame begins there."""
        page, lines = Page(limit), Lines()
        samples: list[bytes] = []
        async with self._turns, aclosing(self._groups(wanted.key, start)) as found:
            async for group in found:
                page, lines = await self._work(wanted.key, fill, page, lines, group, wanted.selection)
                samples += page.taken()
                if page.full:
                    break
            else:
                page, lines = await self._work(wanted.key, fill, page, lines, None, wanted.selection)
                samples += page.taken()
        page.samples = samples
        return page

    async def whole(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """The file, or what the selection wants of it, as lines of JSON."""
        async with aclosing(self._everything(wanted.key) if wanted.selection.only is None else self._some(wanted)) as found:
            async for piece in found:
                yield piece

    async def content(self, key: str) -> AsyncGenerator[bytes, None]:
        """The file as it was before it was compressed, in pieces of half a megabyte at most."""
        async with aclosing(self._groups(key, Position())) as found:
            async for group in found:
                yield joined(group)

    async def _everything(self, key: str) -> AsyncGenerator[bytes, None]:
        normaliser = StreamNormaliser()
        async with aclosing(self.content(key)) as contents:
            async for content in contents:
                normaliser, made = await self._work(key, normalise, normaliser, content)
                yield made
        yield normaliser.rest()

    async def _some(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        lines = Lines()
        async with aclosing(self._groups(wanted.key, Position())) as found:
            async for group in found:
                lines, made = await self._work(wanted.key, matching, lines, group, wanted.selection)
                yield made
        _, made = await self._work(wanted.key, matching, lines, None, wanted.selection)
        yield made

    async def _groups(self, key: str, start: Position) -> AsyncGenerator[list[Piece], None]:
        frames = Frames(start.frame)
        try:
            async with aclosing(pieces(self._store, key, start=start.frame)) as compressed:
                async for data in compressed:
                    async for group in self._in_thread(groups(behind(frames.feed(data), start))):
                        yield group
        except (Damaged, StoreError) as error:
            # Of the store's errors, one without a name of its own: nothing is there to be read from that byte on.
            if start.frame and type(error) in (Damaged, StoreError):
                raise InvalidCursor from error
            raise Unusable(key, "a file of samples cannot be decompressed") if isinstance(error, Damaged) else error from None

    async def _in_thread(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        while (item := await asyncio.get_running_loop().run_in_executor(self._threads, next, items, None)) is not None:
            yield item

    async def _work(self, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._worker.call(function, *args, **kwargs)
        except TooCostly as error:
            raise Unusable(key, f"a file of samples {error}") from None


def fill(page: Page, lines: Lines, group: list[Piece] | None, selection: Selection) -> tuple[Page, Lines]:
    """The page with the lines that end in the group; without a group, with the last one, which has no end."""
    page.fill(lines.feed(group) if group is not None else lines.rest(), verdict(selection))
    return page, lines


def matching(lines: Lines, group: list[Piece] | None, selection: Selection) -> tuple[Lines, bytes]:
    """Those among the same lines that are wanted."""
    wanted = verdict(selection) or (lambda line: True)
    found = lines.feed(group) if group is not None else lines.rest()
    return lines, b"".join(shown(line) + b"\n" for line in found if line.length and wanted(line.text))


def normalise(normaliser: StreamNormaliser, content: bytes) -> tuple[StreamNormaliser, bytes]:
    """The next piece of a file as valid JSON."""
    return normaliser, normaliser.feed(content)
