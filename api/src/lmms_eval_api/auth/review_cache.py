"""Reviews of the API server, cached for a while: one request at a time for each key, and a bounded number of entries.

Refusals are kept apart from acceptances, so that a flood of unknown callers evicts no known one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from lmms_eval_api.problems import make_unavailable

Key = TypeVar("Key", bound=Hashable)
Review = TypeVar("Review")

MAX_ENTRIES: Final = 4096
MAX_PENDING: Final = 64


class CachedReview(NamedTuple, Generic[Review]):
    """A review, and the time of the clock at which it expires."""

    review: Review
    expires_at: float


class ReviewCache(Generic[Key, Review]):
    """A review that is false or None is a refusal. Errors are not cached. Times are in seconds."""

    def __init__(self, *, accepted: float, refused: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = {True: accepted, False: refused}
        self._entries: dict[bool, dict[Key, CachedReview[Review]]] = {True: {}, False: {}}
        self._pending: dict[Key, asyncio.Task[Review]] = {}
        self._clock = clock

    async def get(self, key: Key, ask: Callable[[], Awaitable[Review]]) -> Review:
        """Return the cached review of this key, else what `ask` returns. Raises 503 while too many are pending."""
        for entries in self._entries.values():
            if key in entries and self._clock() < entries[key].expires_at:
                return entries[key].review
        task = self._pending.get(key) or self._start(key, ask)
        # Shielded: one caller who hangs up must not cancel the review for the others.
        return await asyncio.shield(task)

    def _start(self, key: Key, ask: Callable[[], Awaitable[Review]]) -> asyncio.Task[Review]:
        if len(self._pending) >= MAX_PENDING:
            raise make_unavailable("Too many unknown callers at once; try again.", retry_after=1)
        task = self._pending[key] = asyncio.create_task(self._ask(key, ask))
        task.add_done_callback(lambda done: self._finish(key, done))
        return task

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[Review]]) -> Review:
        # A review is valid from the time of the question, as rights may have changed since.
        asked_at = self._clock()
        review = await ask()
        self._store(key, review, asked_at)
        return review

    def _store(self, key: Key, review: Review, asked_at: float) -> None:
        for entries in self._entries.values():
            entries.pop(key, None)
        accepted = bool(review)
        entries = self._entries[accepted]
        entries[key] = CachedReview(review, asked_at + self._seconds[accepted])
        if len(entries) > MAX_ENTRIES:
            del entries[next(iter(entries))]

    def _finish(self, key: Key, task: asyncio.Task[Review]) -> None:
        del self._pending[key]
        if not task.cancelled():
            # Retrieved, so that asyncio does not report the error as lost when every caller has hung up.
            task.exception()
