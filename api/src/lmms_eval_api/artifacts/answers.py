"""Reads the answers of a run from its journals: a page from any place on, in bounded memory.

Attempts are read in their order, and in each one rank after the other. What cannot be read ends the journal that it is
in, as it does for an attempt that goes on with it; the others are read.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.batch_index import BatchIndex
from lmms_eval_api.artifacts.journal_block import (
    AnswerSelection,
    BlockReading,
    BlockStart,
    FoundAnswer,
    list_batches,
    read_block,
    read_run_tasks,
)
from lmms_eval_api.artifacts.journal_position import JournalPosition, SegmentPosition, find_segments
from lmms_eval_api.artifacts.media_block import NO_MEDIA, add_media
from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.segment_blocks import stream_blocks
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, UnusableArtifact, read_within
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core import layout
from lmms_eval_core.journal import MAX_EARLIER_ATTEMPTS, JournalName
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.errors import ObjectMissing

# A page ends when so much was read for it, answers of other tasks too.
SCAN_BYTES: Final = 64 * 1024 * 1024
# Of all indexes in memory.
INDEX_BYTES: Final = 32 * 1024 * 1024
MAX_INDEXES: Final = 1000
# Attempts whose tasks are remembered.
MAX_REMEMBERED: Final = 1000


class WantedAnswers(NamedTuple):
    """Which answers: those of the selection, in the journals of the attempts up to that of `newest`."""

    newest: ArtifactPrefix
    selection: AnswerSelection

    @property
    def beginning(self) -> JournalPosition:
        """Where the journals begin."""
        return JournalPosition(self.first_attempt)

    @property
    def first_attempt(self) -> int:
        """The earliest attempt whose journals are read."""
        return max(1, self.newest.attempt - MAX_EARLIER_ATTEMPTS)


class PageLimits(NamedTuple):
    """How many answers a page may have, and how many bytes, but for the last answer."""

    answers: int
    bytes: int = 8 * 1024 * 1024


class AnswerPage:
    """Answers as JSON, and the `position` behind them; `is_full` if there may be more by now.

    `tasks` are those of all answers that were looked at, as their samples are stored, and `run_tasks` those of the run.
    """

    def __init__(self, start: JournalPosition, limits: PageLimits) -> None:
        self.answers: list[bytes] = []
        self.media_keys: list[bytes] = []
        self.position = start
        self.tasks: set[str] = set()
        self.run_tasks: set[str] = set()
        self._limits = limits
        self._size = self._scanned = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing is to be added."""
        size, limits = self._size, self._limits
        return len(self.answers) >= limits.answers or size >= limits.bytes or self._scanned >= SCAN_BYTES

    def add(self, answer: FoundAnswer) -> None:
        """Add an answer, whose media are to follow."""
        self.answers.append(answer.text)
        self.media_keys.append(answer.media_key)
        self._size += len(answer.text)

    def add_media(self, found: Mapping[bytes, bytes]) -> None:
        """Add to each answer what was found for its document."""
        pairs = zip(self.answers, self.media_keys, strict=True)
        self.answers = [add_media(answer, found.get(key, NO_MEDIA)) for answer, key in pairs]

    def count(self, reading: BlockReading) -> None:
        """Count what was read for the page."""
        self._scanned += reading.cost
        self.tasks |= reading.tasks
        self.run_tasks |= reading.run_tasks


class AnswerReader:
    """Every method raises StoreError. `samples` decompresses; `media` knows what documents show.

    Pages are made in turn, as each takes up to 64 MiB.
    """

    def __init__(
        self,
        store: ArtifactStore,
        worker: Worker,
        samples: SampleReader,
        media: MediaJournals,
        *,
        at_once: int = 2,
    ) -> None:
        self._store = store
        self._worker = worker
        self._samples = samples
        self._media = media
        self._turns = asyncio.Semaphore(at_once)
        self._indexes: dict[ArtifactPrefix, asyncio.Task[BatchIndex]] = {}
        self._run_tasks: dict[ArtifactPrefix, list[str]] = {}

    async def read_page(self, wanted: WantedAnswers, *, start: JournalPosition, limits: PageLimits) -> AnswerPage:
        """Return the page from `start` on; a page that is not full ends where the journals end by now."""
        page = AnswerPage(start, limits)
        await self._fill(page, wanted)
        if page.answers:
            page.add_media(await self._media.find_media(wanted.newest, set(page.media_keys)))
        return page

    async def _fill(self, page: AnswerPage, wanted: WantedAnswers) -> None:
        start = page.position
        for attempt in range(max(start.attempt, wanted.first_attempt), wanted.newest.attempt + 1):
            if attempt != page.position.attempt:
                page.position = JournalPosition(attempt)
            prefix = wanted.newest._replace(attempt=attempt)
            segments = await self._list_segments(prefix)
            earlier = await self._find_indexes(wanted, attempt) if segments else []
            for rank, numbers in segments.items():
                async with self._turns:
                    await _RankReading(self, prefix, rank, earlier).fill(page, numbers, wanted.selection)
                if page.is_full:
                    return

    async def list_run_tasks(self, newest: ArtifactPrefix) -> list[str]:
        """Return the tasks of the last attempt, up to `newest`, that has a journal; a group is its tasks there."""
        first = WantedAnswers(newest, AnswerSelection(None)).first_attempt
        for attempt in range(newest.attempt, first - 1, -1):
            if tasks := await self._find_run_tasks(newest._replace(attempt=attempt)):
                return tasks
        return []

    async def _find_run_tasks(self, prefix: ArtifactPrefix) -> list[str]:
        if prefix not in self._run_tasks:
            for rank, numbers in (await self._list_segments(prefix)).items():
                if 0 in numbers and (tasks := await self._read_run_tasks(_name_segment(prefix, rank, 0))):
                    self._remember_run_tasks(prefix, tasks)
                    break
        return self._run_tasks.get(prefix, [])

    async def _read_run_tasks(self, key: str) -> list[str]:
        try:
            async with aclosing(self.stream_blocks(key, 0)) as blocks:
                async for block in blocks:
                    return await self._worker.call(read_run_tasks, block)
        except (UnusableArtifact, ObjectMissing, TooCostly):
            pass
        return []

    def _remember_run_tasks(self, prefix: ArtifactPrefix, tasks: list[str]) -> None:
        # The header of a journal never changes.
        self._run_tasks[prefix] = tasks
        if len(self._run_tasks) > MAX_REMEMBERED:
            del self._run_tasks[next(iter(self._run_tasks))]

    def stream_blocks(self, key: str, at: int) -> AsyncGenerator[bytes, None]:
        """Yield the whole lines of a segment from byte `at` of its text on, in blocks."""
        return stream_blocks(self._samples, key, at)

    async def parse(self, block: bytes, start: BlockStart, selection: AnswerSelection) -> BlockReading:
        """Return what is in a block; what takes too much to be parsed is the end of its journal."""
        try:
            return await self._worker.call(read_block, block, start, selection)
        except TooCostly:
            return BlockReading([], 0, start.taken, True, len(block), frozenset())

    async def _list_segments(self, prefix: ArtifactPrefix) -> dict[int, frozenset[int]]:
        keys = await read_within(READ_SECONDS, self._list_keys(prefix.file(layout.JOURNAL_FILES)))
        return find_segments(keys, prefix)

    async def _list_keys(self, folder: str) -> list[str]:
        found: list[str] = []
        async for item in self._store.list(folder):
            found.append(item.key)
            if len(found) == layout.MAX_SEGMENTS:
                break
        return found

    async def _find_indexes(self, wanted: WantedAnswers, attempt: int) -> list[BatchIndex]:
        """Return the batches of the attempts before this one, each read once."""
        return [
            await self._find_index(wanted.newest._replace(attempt=earlier))
            for earlier in range(wanted.first_attempt, attempt)
        ]

    async def _find_index(self, prefix: ArtifactPrefix) -> BatchIndex:
        task = self._indexes.pop(prefix, None)
        if task is None or (task.done() and not _has_succeeded(task)):
            task = asyncio.create_task(self._make_index(prefix))
        self._indexes[prefix] = task
        # A caller who gives up leaves it to the next one.
        index = await asyncio.shield(task)
        self._drop_indexes()
        return index

    def _drop_indexes(self) -> None:
        """Drop those that were not used for long, while there are too many."""
        made = {prefix: task.result().memory_bytes for prefix, task in self._indexes.items() if _has_succeeded(task)}
        excess = sum(made.values()) - INDEX_BYTES
        for prefix, size in made.items():
            if excess <= 0 and len(self._indexes) <= MAX_INDEXES:
                return
            del self._indexes[prefix]
            excess -= size

    async def _make_index(self, prefix: ArtifactPrefix) -> BatchIndex:
        index = BatchIndex()
        for rank, numbers in (await self._list_segments(prefix)).items():
            number = 0
            while number in numbers and await self._index_segment(_name_segment(prefix, rank, number), index):
                number += 1
        return index

    async def _index_segment(self, key: str, index: BatchIndex) -> bool:
        """Add the batches of a segment; return whether the next one goes on."""
        try:
            async with aclosing(self.stream_blocks(key, 0)) as blocks:
                async for block in blocks:
                    ids, is_over = await self._worker.call(list_batches, block)
                    index.add(ids)
                    if is_over:
                        return False
        except (UnusableArtifact, ObjectMissing, TooCostly):
            return False
        return True


class _RankReading:
    """Reads the journal of one rank into a page."""

    def __init__(self, reader: AnswerReader, prefix: ArtifactPrefix, rank: int, earlier: list[BatchIndex]) -> None:
        self._reader = reader
        self._prefix = prefix
        self._rank = rank
        self._earlier = earlier

    async def fill(self, page: AnswerPage, numbers: frozenset[int], selection: AnswerSelection) -> None:
        """Add answers until the page is full, or the journal ends by now."""
        place = page.position.find(self._rank)
        while place.segment in numbers and await self._read_segment(page, place, selection):
            if place.segment + 1 not in numbers:
                return
            place = SegmentPosition(place.segment + 1)
            page.position = page.position.move(self._rank, place)

    async def _read_segment(self, page: AnswerPage, place: SegmentPosition, selection: AnswerSelection) -> bool:
        """Return whether the segment was read to its end."""
        key = _name_segment(self._prefix, self._rank, place.segment)
        try:
            async with aclosing(self._reader.stream_blocks(key, place.at)) as blocks:
                async for block in blocks:
                    if not await self._read_block(page, block, selection):
                        return False
        except (UnusableArtifact, ObjectMissing):
            return False
        return True

    async def _read_block(self, page: AnswerPage, block: bytes, selection: AnswerSelection) -> bool:
        """Return whether the block was read to its end."""
        first = page.position.find(self._rank)
        start = 0
        while start < len(block):
            taken = page.position.find(self._rank).taken
            reading = await self._reader.parse(block[start:], BlockStart(self._prefix.attempt, taken), selection)
            page.count(reading)
            for answer in reading.answers:
                self._add(page, answer)
                if page.is_full:
                    self._move(page, first, start + answer.line, answer.taken)
                    return False
            start += reading.end
            self._move(page, first, start, reading.taken)
            if reading.is_over or page.is_full:
                return False
        return True

    def _add(self, page: AnswerPage, answer: FoundAnswer) -> None:
        if not any(answer.batch in index for index in self._earlier):
            page.add(answer)

    def _move(self, page: AnswerPage, first: SegmentPosition, at: int, taken: int) -> None:
        page.position = page.position.move(self._rank, SegmentPosition(first.segment, first.at + at, taken))


def _has_succeeded(task: asyncio.Task[BatchIndex]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _name_segment(prefix: ArtifactPrefix, rank: int, number: int) -> str:
    name = str(JournalName(prefix.attempt, rank))
    return prefix.file(layout.journal_segment(name, number))
