"""Reads samples from the store: a page from any position of the file, or the whole file, in bounded memory.

Threads decompress, without holding Python's lock; the content is parsed in the worker process. Between two calls the
state of a reading is kept here, so that a worker can be replaced at any time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Final, NamedTuple, ParamSpec, TypeVar

from lmms_eval_api.artifacts.frames import (
    GROUP_BYTES,
    Damaged,
    FrameReader,
    InvalidSampleCursor,
    LineSplitter,
    Piece,
    Position,
    group_pieces,
    join_pieces,
    skip_to,
)
from lmms_eval_api.artifacts.normaliser import StreamNormaliser
from lmms_eval_api.artifacts.sample_filter import SampleSelection, make_predicate
from lmms_eval_api.artifacts.sample_page import SamplePageBuilder, render_line
from lmms_eval_api.artifacts.sample_search import SampleSearch, search_group
from lmms_eval_api.artifacts.store import ArtifactStore, UnusableArtifact, stream_pieces
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core.store.errors import StoreError

# Of one group of pieces, at most.
GROUP_LINES: Final = 2 * GROUP_BYTES

P = ParamSpec("P")
T = TypeVar("T")


class WantedSamples(NamedTuple):
    """Which samples: those of the selection, in the file `key`."""

    key: str
    selection: SampleSelection = SampleSelection()


class SampleReader:
    """Every method raises StoreError. Pages are made in turn, as each takes up to 32 MiB meanwhile."""

    def __init__(self, store: ArtifactStore, worker: Worker, *, at_once: int = 2) -> None:
        self._store = store
        self._worker = worker
        self._turns = asyncio.Semaphore(at_once)
        # An executor of its own, as the event loop's threads resolve names.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="samples")

    async def read_page(self, wanted: WantedSamples, *, start: Position, limit: int) -> SamplePageBuilder:
        """Return the page from `start` on. Raises InvalidSampleCursor if no frame begins there."""
        page, lines = SamplePageBuilder(limit), LineSplitter()
        samples: list[bytes] = []
        async with self._turns, aclosing(self._stream_groups(wanted.key, start)) as found:
            async for group in found:
                page, lines = await self._call_worker(wanted.key, fill_page, page, lines, group, wanted.selection)
                samples += page.take_samples()
                if page.is_full:
                    break
            else:
                page, lines = await self._call_worker(wanted.key, fill_page, page, lines, None, wanted.selection)
                samples += page.take_samples()
        page.samples = samples
        return page

    async def search(self, key: str, search: SampleSearch, *, start: Position, wanted: bytes | None) -> SampleSearch:
        """Return the search after the lines from `start` on, until it has enough; `wanted` has a byte for each row.

        Raises InvalidSampleCursor if no frame begins at `start`.
        """
        lines = LineSplitter()
        async with self._turns, aclosing(self._stream_groups(key, start)) as found:
            async for group in found:
                rows = slice(search.row, search.row + GROUP_LINES)
                marks = wanted[rows] if wanted is not None else None
                search, lines = await self._call_worker(key, search_group, search, lines, group, marks)
                if search.next is not None:
                    return search
            marks = wanted[search.row : search.row + 1] if wanted is not None else None
            search, _ = await self._call_worker(key, search_group, search, lines, None, marks)
        return search

    async def stream_selected(self, wanted: WantedSamples) -> AsyncGenerator[bytes, None]:
        """Yield the file, or what the selection wants of it, as lines of JSON."""
        is_whole = wanted.selection.filter is None
        async with aclosing(
            self._stream_normalised(wanted.key) if is_whole else self._stream_filtered(wanted),
        ) as found:
            async for piece in found:
                yield piece

    async def stream_content(self, key: str) -> AsyncGenerator[bytes, None]:
        """Yield the decompressed file, in pieces of half a megabyte at most."""
        async with aclosing(self._stream_groups(key, Position())) as found:
            async for group in found:
                yield join_pieces(group)

    async def _stream_normalised(self, key: str) -> AsyncGenerator[bytes, None]:
        normaliser = StreamNormaliser()
        async with aclosing(self.stream_content(key)) as contents:
            async for content in contents:
                normaliser, made = await self._call_worker(key, normalise_piece, normaliser, content)
                yield made
        yield normaliser.finish()

    async def _stream_filtered(self, wanted: WantedSamples) -> AsyncGenerator[bytes, None]:
        lines = LineSplitter()
        async with aclosing(self._stream_groups(wanted.key, Position())) as found:
            async for group in found:
                lines, made = await self._call_worker(wanted.key, select_lines, lines, group, wanted.selection)
                yield made
        _, made = await self._call_worker(wanted.key, select_lines, lines, None, wanted.selection)
        yield made

    async def _stream_groups(self, key: str, start: Position) -> AsyncGenerator[list[Piece], None]:
        frames = FrameReader(start.frame)
        try:
            async with aclosing(stream_pieces(self._store, key, start=start.frame)) as compressed:
                async for data in compressed:
                    async for group in self._iterate_in_thread(group_pieces(skip_to(frames.feed(data), start))):
                        yield group
        except (Damaged, StoreError) as error:
            # A plain StoreError, without a class of its own, means that the file has nothing to read from that byte on.
            if start.frame and type(error) in (Damaged, StoreError):
                raise InvalidSampleCursor from error
            if isinstance(error, Damaged):
                raise UnusableArtifact(key, "a file of samples cannot be decompressed") from None
            raise error from None

    async def _iterate_in_thread(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        while (item := await asyncio.get_running_loop().run_in_executor(self._threads, next, items, None)) is not None:
            yield item

    async def _call_worker(self, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._worker.call(function, *args, **kwargs)
        except TooCostly as error:
            raise UnusableArtifact(key, f"a file of samples {error}") from None


def fill_page(
    page: SamplePageBuilder, lines: LineSplitter, group: list[Piece] | None, selection: SampleSelection
) -> tuple[SamplePageBuilder, LineSplitter]:
    """Return the page with the lines that end in the group; without a group, with the last line, which has no end."""
    page.fill(lines.feed(group) if group is not None else lines.finish(), make_predicate(selection))
    return page, lines


def select_lines(
    lines: LineSplitter,
    group: list[Piece] | None,
    selection: SampleSelection,
) -> tuple[LineSplitter, bytes]:
    """Return those of the same lines that are wanted."""
    wanted = make_predicate(selection) or (lambda line: True)
    found = lines.feed(group) if group is not None else lines.finish()
    return lines, b"".join(render_line(line) + b"\n" for line in found if line.length and wanted(line.text))


def normalise_piece(normaliser: StreamNormaliser, content: bytes) -> tuple[StreamNormaliser, bytes]:
    """Return the next piece of a file as valid JSON."""
    return normaliser, normaliser.feed(content)
