"""Server-sent events of jobs, fanned out from the cache: whoever watches a job gets its newest state, never a queue of old ones.

One notifier compares the watched jobs after a change and wakes the streams of those that moved. A slow reader therefore skips
states and costs no memory. `routes.events` is the HTTP side.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fastapi.sse import format_sse_event

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.snapshot import ENDED, Job

# Between two looks at all watched jobs, and between two events of one stream.
LOOK_SECONDS: Final = 0.1
PACE_SECONDS: Final = 0.5
# Shorter than proxies keep a silent connection.
KEEP_ALIVE_SECONDS: Final = 15.0
KEEP_ALIVE: Final = b": keep-alive\n\n"
END: Final = format_sse_event(event="end", data_str="{}")

Render = Callable[[Job, int | None], str]


class State(NamedTuple):
    """A job, and its place in the queue."""

    job: Job
    position: int | None

    @property
    def id(self) -> str:
        """Tells two states of a job apart, on every replica."""
        return f"{self.job.version}.{'' if self.position is None else self.position}"

    @property
    def final(self) -> bool:
        """Whether it stays like this."""
        return self.job.status in ENDED


@dataclass
class Feed:
    """The newest state of one watched job, for all its streams; None when the cache does not have it any more."""

    job: Job
    state: State | None
    streams: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _texts: dict[object, str] = field(default_factory=dict)

    def turn(self, state: State | None) -> None:
        """Takes the state in, and wakes the streams if it is another one."""
        if state != self.state:
            self.state = state
            self._texts.clear()
            self.wake()

    def wake(self) -> None:
        """Has every stream look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def moves(self, *, within: float) -> bool:
        """Waits for the next state; False if there is none in time."""
        try:
            async with asyncio.timeout(within):
                await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def event(self, state: State, *, key: object, render: Render) -> bytes:
        """The newest state as an event. Streams of one `key` see one text, which is made once."""
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = render(state.job, state.position)
        return format_sse_event(event="state", data_str=text, id=state.id)


class Feeds:
    """All watched jobs. `run` tells the streams what changes, `close` ends them."""

    def __init__(self, cache: JobCache) -> None:
        self._cache = cache
        self._feeds: dict[str, Feed] = {}
        self._changed = asyncio.Event()
        self.closed = False
        cache.changed = self._changed.set

    async def run(self) -> None:
        """Looks at the watched jobs after every change, for ever."""
        while True:
            await self._change()
            self._changed.clear()
            for feed in self._feeds.values():
                feed.turn(self._state(feed.job))
            await asyncio.sleep(LOOK_SECONDS)

    async def _change(self) -> None:
        """Waits for news, or for what the time of day changes."""
        try:
            async with asyncio.timeout(self._cache.seconds_to_move()):
                await self._changed.wait()
        except TimeoutError:
            self._cache.move_on()

    def close(self) -> None:
        """Ends every stream, as the server stops; clients come back with the id of the last event that they have seen."""
        self.closed = True
        for feed in self._feeds.values():
            feed.wake()

    @contextmanager
    def watching(self, job: Job) -> Iterator[Feed]:
        """The feed of a job, for one stream."""
        feed = self._feeds.setdefault(job.uid, Feed(job, self._state(job)))
        feed.streams += 1
        try:
            yield feed
        finally:
            feed.streams -= 1
            if not feed.streams:
                del self._feeds[job.uid]

    def _state(self, job: Job) -> State | None:
        known = self._cache.get(job.name)
        return State(known, self._cache.position(known)) if known is not None and known.uid == job.uid else None


class Viewer(NamedTuple):
    """For whom a stream is: the state that was seen last, how it is told, and what tells its texts from those of others."""

    last_id: str | None
    render: Render
    key: object


async def events(
    feeds: Feeds, job: Job, viewer: Viewer, *, gone: Callable[[Job], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """The stream of one caller, until the job has ended or is `gone`. The cache may lose a job for a moment: then ask."""
    sent = viewer.last_id
    with feeds.watching(job) as feed:
        while not feeds.closed:
            state = feed.state
            if state is not None and state.id != sent:
                yield feed.event(state, key=viewer.key, render=viewer.render)
                sent = state.id
                await asyncio.sleep(0 if state.final else PACE_SECONDS)
            elif state is None and not await gone(job):
                await asyncio.sleep(PACE_SECONDS)
            elif state is None or state.final:
                yield END
                return
            elif not await feed.moves(within=KEEP_ALIVE_SECONDS):
                yield KEEP_ALIVE
