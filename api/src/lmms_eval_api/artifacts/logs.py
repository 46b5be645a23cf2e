"""The log of an attempt for one caller: from the pod, and from the same byte on from the store when the pod is gone."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.log_sources import LogContent, LogSource, PodLogs, open_stored_log
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.stored_files import find_stored_files, make_attempt_prefix
from lmms_eval_api.jobs.snapshot import ENDED, JobSnapshot
from lmms_eval_api.responses import StreamAborted
from lmms_eval_core.kube.client import KubeClient
from lmms_eval_core.kube.errors import KubeError, Unavailable
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus

# Between two attempts to open a log that does not exist yet, or whose stream ended before the container did.
PAUSE_SECONDS: Final = 1.0
# After failing for this long, the response ends and the caller has to ask again.
TROUBLE_SECONDS: Final = 60.0
# Of the last lines, no more than this is held.
TAIL_BYTES: Final = 8 * 1024 * 1024

Find = Callable[[], Awaitable[JobSnapshot | None]]


class LogRange(NamedTuple):
    """Which part of the log: from byte `offset` on, or the last `tail` lines; with `follow`, until the attempt ends."""

    offset: int = 0
    tail: int | None = None
    follow: bool = False


class OpenedLog(NamedTuple):
    """A log as a response: of which attempt, and the offset of its first byte if that is known."""

    attempt: int
    start: int | None
    content: LogContent


class LogReader:
    """Finds logs. Without `samples`, which reads the store, only those of pods that exist."""

    def __init__(self, client: KubeClient, samples: SampleReader | None) -> None:
        self._pods = PodLogs(client)
        self._samples = samples

    async def read(self, job: JobSnapshot, attempt: int | None, log_range: LogRange, *, find: Find) -> OpenedLog | None:
        """Return the log, or None if there is none and the caller does not follow. Raises KubeError, StoreError.

        `find` returns the newest state of the job. Without `attempt` it is the last attempt's log; where that had
        nothing to do, as an earlier one turned out to have finished, the earlier one's.
        """
        document = job.document
        number = attempt or document.get("status", {}).get("attempt", 1)
        source = await self.open(job, number, log_range)
        produced = find_stored_files(job, document) if source is None and attempt is None else None
        if produced is not None:
            number = produced.prefix.attempt
            source = await self.open(job, number, log_range)
        if source is None and not log_range.follow:
            return None
        reading = LogReading(self, job, number, log_range, find)
        return OpenedLog(number, reading.find_start(source), reading.stream(source))

    async def open(self, job: JobSnapshot, attempt: int, log_range: LogRange) -> LogSource | None:
        """Return the log where there is one now: the pod's, which may still grow, before the store's."""
        prefix = make_attempt_prefix(job, job.document, attempt)
        try:
            source = await self._pods.open(prefix, follow=log_range.follow, tail=log_range.tail)
        except Unavailable:
            # The pod of a node that is gone is deleted only later.
            source = await open_stored_log(self._samples, prefix) if self._samples is not None else None
            if source is None:
                raise
        if source is None and self._samples is not None:
            source = await open_stored_log(self._samples, prefix)
        return source


class LogReading:
    """One caller's reading of one attempt's log. `_position` is the offset of the next byte for the caller."""

    def __init__(self, logs: LogReader, job: JobSnapshot, attempt: int, log_range: LogRange, find: Find) -> None:
        self._logs = logs
        self._job = job
        self._attempt = attempt
        self._range = log_range
        self._find = find
        self._position = log_range.offset

    def find_start(self, source: LogSource | None) -> int | None:
        """Return the offset of the first byte of the content, if it is known."""
        if self._range.tail is not None:
            return None
        if source is None:
            return self._position
        return None if source.start is None else max(source.start, self._position)

    async def stream(self, source: LogSource | None) -> LogContent:
        """Yield the bytes, from the first source and later ones."""
        while True:
            if source is not None:
                try:
                    async with aclosing(self._stream_range(source)) as found:
                        async for piece in found:
                            yield piece
                    if source.is_final or not self._range.follow:
                        return
                except Unavailable:
                    if not self._range.follow:
                        raise
                if self._range.tail is not None:
                    # The offset at which the last lines began is not known, so that a second source could not continue
                    # there.
                    raise StreamAborted
            state = await self._read_stage()
            await asyncio.sleep(PAUSE_SECONDS)
            source = None if state is _AttemptStage.BEFORE else await self._reopen()
            if source is None and state is _AttemptStage.AFTER:
                return

    async def _stream_range(self, source: LogSource) -> LogContent:
        async with aclosing(source.content) as content:
            if self._range.tail is not None and source.is_final:
                yield await _read_last_lines(content, self._range.tail)
                return
            async for piece in self._skip_received(content, source.start):
                yield piece

    async def _skip_received(self, content: LogContent, start: int | None) -> LogContent:
        """Yield what the caller does not have. A log with an unknown start has lost its start: nearly all is new."""
        place = self._position if start is None else start
        async for piece in content:
            missing = max(self._position - place, 0)
            place += len(piece)
            if missing < len(piece):
                self._position = place
                yield piece[missing:]

    async def _reopen(self) -> LogSource | None:
        deadline = time.monotonic() + TROUBLE_SECONDS
        while True:
            try:
                return await self._logs.open(self._job, self._attempt, self._range)
            except (KubeError, StoreError):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read_stage(self) -> "_AttemptStage":
        try:
            job = await self._find()
        except KubeError:
            return _AttemptStage.DURING
        return _find_stage(job if job is not None and job.uid == self._job.uid else None, self._attempt)


class _AttemptStage(Enum):
    """What the job's state says of an attempt."""

    BEFORE = auto()
    DURING = auto()
    AFTER = auto()


def _find_stage(job: JobSnapshot | None, attempt: int) -> _AttemptStage:
    if job is None or job.status in ENDED:
        return _AttemptStage.AFTER
    current = job.document.get("status", {}).get("attempt", 0)
    if current < attempt:
        return _AttemptStage.BEFORE
    return _AttemptStage.DURING if current == attempt and job.status is JobStatus.RUNNING else _AttemptStage.AFTER


async def _read_last_lines(content: LogContent, count: int) -> bytes:
    end: deque[bytes] = deque()
    size = 0
    async for piece in content:
        end.append(piece)
        size += len(piece)
        while size - len(end[0]) >= TAIL_BYTES:
            size -= len(end.popleft())
    return cut_last_lines(b"".join(end)[-TAIL_BYTES:], count)


def cut_last_lines(text: bytes, count: int) -> bytes:
    """Return the last lines of a text; a last line without an end counts."""
    start = len(text) - text.endswith(b"\n")
    for _ in range(count):
        start = text.rfind(b"\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]
