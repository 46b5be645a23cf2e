"""Server-sent events with the answers of a run, as they arrive in the object store.

The status of a job says how many answers of its attempt are stored. Nothing else makes a stream read: while that stays
as it is, however long, the store is left alone. The id of an event is the cursor behind it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.answers import AnswerReader, PageLimits, WantedAnswers
from lmms_eval_api.artifacts.journal_position import JournalPosition, encode_answer_cursor
from lmms_eval_api.jobs.feeds import END, KEEP_ALIVE, KEEP_ALIVE_SECONDS, PACE_SECONDS, JobFeeds
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core.wire import JobStatus

# Of one event: a reader who is slow has one in memory.
EVENT_LIMITS: Final = PageLimits(answers=500, bytes=256 * 1024)


class StoredProgress(NamedTuple):
    """What must change before there can be more answers."""

    status: JobStatus
    attempt: int
    kept: int


def find_progress(job: JobSnapshot) -> StoredProgress:
    """Return what the status of a job says of its stored answers."""
    status = job.document.get("status", {})
    return StoredProgress(job.status, status.get("attempt") or 0, (status.get("progress") or {}).get("kept") or 0)


class AnswerFollower:
    """One caller's reading: `find_wanted` says which answers of a state of the job are meant, None for none."""

    def __init__(
        self,
        reader: AnswerReader,
        start: JournalPosition | None,
        find_wanted: Callable[[JobSnapshot], WantedAnswers | None],
    ) -> None:
        self._reader = reader
        self._position = start
        self._find_wanted = find_wanted

    async def stream(
        self, feeds: JobFeeds, job: JobSnapshot, *, is_gone: Callable[[JobSnapshot], Awaitable[bool]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield events until the job has ended or is gone. The first piece comes after the first look."""
        seen: StoredProgress | None = None
        with feeds.subscribe(job) as feed:
            while not feeds.closed:
                state = feed.state
                if state is None:
                    if await is_gone(job):
                        yield END
                        return
                    await asyncio.sleep(PACE_SECONDS)
                elif (progress := find_progress(state.job)) != seen:
                    async for event in self._read_new(state.job):
                        yield event
                    if seen is None:
                        yield KEEP_ALIVE
                    seen = progress
                elif state.is_final:
                    yield END
                    return
                elif not await feed.wait_for_change(timeout=KEEP_ALIVE_SECONDS):
                    yield KEEP_ALIVE

    async def _read_new(self, job: JobSnapshot) -> AsyncGenerator[bytes, None]:
        wanted = self._find_wanted(job)
        is_full = wanted is not None
        while wanted is not None and is_full:
            start = self._position or wanted.beginning
            page = await self._reader.read_page(wanted, start=start, limits=EVENT_LIMITS)
            self._position, is_full = page.position, page.is_full
            if page.answers:
                yield make_event(page.answers, page.position)


def make_event(answers: list[bytes], position: JournalPosition) -> bytes:
    """Return the event with these answers, JSON without line ends, and the position behind them."""
    data = b'{"samples":[' + b",".join(answers) + b'],"partial":true}'
    return b"event: answers\ndata: " + data + f"\nid: {encode_answer_cursor(position)}\n\n".encode()
