"""Server-sent events of jobs: each stream gets the newest state of its job, never a queue of old ones.

One loop compares the watched jobs after each change, and wakes the streams of those that changed. A slow reader skips
states, and costs no memory. `routes.events` is the HTTP side.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fastapi.sse import format_sse_event

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.snapshot import ENDED, JobSnapshot

# Between two comparisons of all watched jobs, and between two events of one stream.
LOOK_SECONDS: Final = 0.1
PACE_SECONDS: Final = 0.5
# Shorter than the idle timeout of proxies.
KEEP_ALIVE_SECONDS: Final = 15.0
KEEP_ALIVE: Final = b": keep-alive\n\n"
END: Final = format_sse_event(event="end", data_str="{}")

Render = Callable[[JobSnapshot, int | None], str]


class JobState(NamedTuple):
    """A job, and its position in the queue."""

    job: JobSnapshot
    position: int | None

    @property
    def id(self) -> str:
        """Identifies this state among those of the job, on every replica."""
        return f"{self.job.version}.{'' if self.position is None else self.position}"

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change any more."""
        return self.job.status in ENDED


@dataclass
class JobFeed:
    """The newest state of one watched job, for all its streams; None when the cache does not have the job any more."""

    job: JobSnapshot
    state: JobState | None
    streams: int = 0
    _changed_event: asyncio.Event = field(default_factory=asyncio.Event)
    _texts: dict[object, str] = field(default_factory=dict)

    def publish(self, state: JobState | None) -> None:
        """Set the state, and wake the streams if it differs."""
        if state != self.state:
            self.state = state
            self._texts.clear()
            self.wake()

    def wake(self) -> None:
        """Make every stream check the state."""
        self._changed_event.set()
        self._changed_event = asyncio.Event()

    async def wait_for_change(self, *, timeout: float) -> bool:
        """Wait for the next state; return False if none comes in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed_event.wait()
        except TimeoutError:
            return False
        return True

    def render_event(self, state: JobState, *, key: object, render: Render) -> bytes:
        """Return the newest state as an event. Streams with the same `key` share one text."""
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = render(state.job, state.position)
        return format_sse_event(event="state", data_str=text, id=state.id)


class JobFeeds:
    """All watched jobs. `run` publishes changes, `close` ends the streams."""

    def __init__(self, cache: JobCache) -> None:
        self._cache = cache
        self._feeds: dict[str, JobFeed] = {}
        self._changed = asyncio.Event()
        self._looked = asyncio.Event()
        self.closed = False
        cache.on_change = self._changed.set

    async def run(self) -> None:
        """Publish the watched jobs after every change, until cancelled."""
        while True:
            await self._wait_for_news()
            self._changed.clear()
            for feed in self._feeds.values():
                feed.publish(self._find_state(feed.job))
            self._wake_looking()
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_for_news(self) -> None:
        """Wait for a change of the cache, or for the time at which a job becomes due."""
        try:
            async with asyncio.timeout(self._cache.get_seconds_until_move()):
                await self._changed.wait()
        except TimeoutError:
            self._cache.move_due()

    async def wait_for_look(self) -> None:
        """Wait until the cache has changed again, or the streams are to end."""
        await self._looked.wait()

    def _wake_looking(self) -> None:
        self._looked.set()
        self._looked = asyncio.Event()

    def close(self) -> None:
        """End every stream, as the server stops; clients reconnect with the id of the last event that they have."""
        self.closed = True
        for feed in self._feeds.values():
            feed.wake()
        self._wake_looking()

    @contextmanager
    def subscribe(self, job: JobSnapshot) -> Iterator[JobFeed]:
        """Return the feed of a job, for one stream."""
        feed = self._feeds.setdefault(job.uid, JobFeed(job, self._find_state(job)))
        feed.streams += 1
        try:
            yield feed
        finally:
            feed.streams -= 1
            if not feed.streams:
                del self._feeds[job.uid]

    def _find_state(self, job: JobSnapshot) -> JobState | None:
        known = self._cache.get(job.name)
        return JobState(known, self._cache.find_position(known)) if known is not None and known.uid == job.uid else None


class EventViewer(NamedTuple):
    """Who reads a stream: the id of the last event they have, how states are rendered, and the key of their texts."""

    last_id: str | None
    render: Render
    key: object


async def stream_events(
    feeds: JobFeeds, job: JobSnapshot, viewer: EventViewer, *, is_gone: Callable[[JobSnapshot], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """Yield the events of one caller until the job has ended or is gone.

    The cache may lose a job for a moment: `is_gone` is asked then.
    """
    sent = viewer.last_id
    with feeds.subscribe(job) as feed:
        while not feeds.closed:
            state = feed.state
            if state is not None and state.id != sent:
                yield feed.render_event(state, key=viewer.key, render=viewer.render)
                sent = state.id
                await asyncio.sleep(0 if state.is_final else PACE_SECONDS)
            elif state is None and not await is_gone(job):
                await asyncio.sleep(PACE_SECONDS)
            elif state is None or state.is_final:
                yield END
                return
            elif not await feed.wait_for_change(timeout=KEEP_ALIVE_SECONDS):
                yield KEEP_ALIVE
