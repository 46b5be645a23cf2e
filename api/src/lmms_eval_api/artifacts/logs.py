"""The log of an attempt for one caller: from the pod, and on at the same byte from the store when the pod is gone."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.log_sources import Content, PodLogs, Source, from_store
from lmms_eval_api.artifacts.samples import Samples
from lmms_eval_api.artifacts.stored_files import attempt_prefix, stored
from lmms_eval_api.jobs.snapshot import ENDED, JobSnapshot
from lmms_eval_api.responses import StreamAborted
from lmms_eval_core.kube.client import KubeClient
from lmms_eval_core.kube.errors import KubeError, Unavailable
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus

# Between two looks for a log that is not there yet, or after a stream that ended before the container did.
PAUSE_SECONDS: Final = 1.0
# Trouble for so long, and the caller had better come again.
TROUBLE_SECONDS: Final = 60.0
# Of the last lines, no more is kept.
TAIL_BYTES: Final = 8 * 1024 * 1024

Find = Callable[[], Awaitable[JobSnapshot | None]]


class Part(NamedTuple):
    """Which part of the log: from byte `offset` on, or the last lines; with `follow`, to its end."""

    offset: int = 0
    tail: int | None = None
    follow: bool = False


class Answer(NamedTuple):
    """A log on its way to the caller: of which attempt, from which byte on if that is known."""

    attempt: int
    start: int | None
    content: Content


class Logs:
    """Finds logs. Without `samples`, which reads the store, those of living pods alone."""

    def __init__(self, client: KubeClient, samples: Samples | None) -> None:
        self._pods = PodLogs(client)
        self._samples = samples

    async def read(self, job: JobSnapshot, attempt: int | None, part: Part, *, find: Find) -> Answer | None:
        """The log, or None while there is none and nobody waits. KubeError, StoreError. `find` gives the newest state of the job.

        Of several attempts it is the last one's; of one that had nothing to do, because an earlier one turned out to have
        finished, the earlier one's.
        """
        document = job.document
        number = attempt or document.get("status", {}).get("attempt", 1)
        source = await self.open(job, number, part)
        produced = stored(job, document) if source is None and attempt is None else None
        if produced is not None:
            number = produced.prefix.attempt
            source = await self.open(job, number, part)
        if source is None and not part.follow:
            return None
        reading = Reading(self, job, number, part, find)
        return Answer(number, reading.starts_at(source), reading.content(source))

    async def open(self, job: JobSnapshot, attempt: int, part: Part) -> Source | None:
        """The log where there is one now: the pod's, which may still grow, before the store's."""
        prefix = attempt_prefix(job, job.document, attempt)
        try:
            source = await self._pods.open(prefix, follow=part.follow, tail=part.tail)
        except Unavailable:
            # A node that is gone takes its pod along only later.
            source = await from_store(self._samples, prefix) if self._samples is not None else None
            if source is None:
                raise
        if source is None and self._samples is not None:
            source = await from_store(self._samples, prefix)
        return source


class Reading:
    """One caller's reading of one attempt's log. `_position` is the offset of the next byte for the caller."""

    def __init__(self, logs: Logs, job: JobSnapshot, attempt: int, part: Part, find: Find) -> None:
        self._logs = logs
        self._job = job
        self._attempt = attempt
        self._part = part
        self._find = find
        self._position = part.offset

    def starts_at(self, source: Source | None) -> int | None:
        """The offset of the first byte of the content, if it can be told."""
        if self._part.tail is not None:
            return None
        if source is None:
            return self._position
        return None if source.start is None else max(source.start, self._position)

    async def content(self, source: Source | None) -> Content:
        """The bytes, from the first source and the later ones."""
        while True:
            if source is not None:
                try:
                    async with aclosing(self._part_of(source)) as found:
                        async for piece in found:
                            yield piece
                    if source.final or not self._part.follow:
                        return
                except Unavailable:
                    if not self._part.follow:
                        raise
                if self._part.tail is not None:
                    # Where the last lines began is not known, so that nobody can go on from there.
                    raise StreamAborted
            state = await self._state()
            await asyncio.sleep(PAUSE_SECONDS)
            source = None if state is _State.BEFORE else await self._opened()
            if source is None and state is _State.AFTER:
                return

    async def _part_of(self, source: Source) -> Content:
        async with aclosing(source.content) as content:
            if self._part.tail is not None and source.final:
                yield await _last_lines(content, self._part.tail)
                return
            async for piece in self._rest(content, source.start):
                yield piece

    async def _rest(self, content: Content, start: int | None) -> Content:
        """What the caller does not have. A log whose place nobody knows has just lost its beginning: nearly all of it is new."""
        place = self._position if start is None else start
        async for piece in content:
            missing = max(self._position - place, 0)
            place += len(piece)
            if missing < len(piece):
                self._position = place
                yield piece[missing:]

    async def _opened(self) -> Source | None:
        deadline = time.monotonic() + TROUBLE_SECONDS
        while True:
            try:
                return await self._logs.open(self._job, self._attempt, self._part)
            except (KubeError, StoreError):
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def _state(self) -> "_State":
        try:
            job = await self._find()
        except KubeError:
            return _State.DURING
        return _state_of(job if job is not None and job.uid == self._job.uid else None, self._attempt)


class _State(Enum):
    """What the job's state says of an attempt."""

    BEFORE = auto()
    DURING = auto()
    AFTER = auto()


def _state_of(job: JobSnapshot | None, attempt: int) -> _State:
    if job is None or job.status in ENDED:
        return _State.AFTER
    current = job.document.get("status", {}).get("attempt", 0)
    if current < attempt:
        return _State.BEFORE
    return _State.DURING if current == attempt and job.status is JobStatus.RUNNING else _State.AFTER


async def _last_lines(content: Content, count: int) -> bytes:
    end: deque[bytes] = deque()
    size = 0
    async for piece in content:
        end.append(piece)
        size += len(piece)
        while size - len(end[0]) >= TAIL_BYTES:
            size -= len(end.popleft())
    return last_lines(b"".join(end)[-TAIL_BYTES:], count)


def last_lines(text: bytes, count: int) -> bytes:
    """The last lines of a text, the one that has no end included."""
    start = len(text) - text.endswith(b"\n")
    for _ in range(count):
        start = text.rfind(b"\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]
