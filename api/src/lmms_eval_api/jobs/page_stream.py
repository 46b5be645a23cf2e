"""Server-sent events for a page that shows many jobs: what changed since its last look, never a queue of old states.

A look at least `PACE_SECONDS` after the one before collects all changes, each job once in its newest state. The id of
an event is a resource version up to which its reader has everything, on whatever replica it goes on.
`routes.page_events` is the HTTP side.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, NamedTuple

from fastapi.sse import format_sse_event

from lmms_eval_api.jobs.cache import JobCache, QueueOverview
from lmms_eval_api.jobs.feeds import KEEP_ALIVE, KEEP_ALIVE_SECONDS, PACE_SECONDS, JobFeeds
from lmms_eval_api.jobs.job_info import make_job_summary
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core.kube.reflector import Reflector

# A page shows fewer. The rest of a long queue would be sent anew with each job that starts.
MAX_QUEUED: Final = 500
# Texts that streams share: more than change between two looks.
MAX_TEXTS: Final = 2048


class PageReader(NamedTuple):
    """Who reads: the jobs of interest, none for all; whether the queue is; and the version that the reader has."""

    jobs: frozenset[str] = frozenset()
    queue: bool = True
    last_version: int | None = None

    def wants(self, name: str) -> bool:
        """Whether this job's events are sent."""
        return not self.jobs or name in self.jobs


class PageStreams:
    """Makes the streams of one front end."""

    def __init__(self, cache: JobCache, reflector: Reflector[JobSnapshot], feeds: JobFeeds) -> None:
        self._cache = cache
        self._reflector = reflector
        self._feeds = feeds
        self._texts: dict[tuple[str, int, int | None], str] = {}
        self._queue: tuple[QueueOverview | None, str] = (None, "")

    async def stream(self, reader: PageReader) -> AsyncGenerator[bytes, None]:
        """Yield the events of one reader until the server stops."""
        journal = self._cache.journal
        resumes, seen, shown = self._can_resume(reader.last_version), journal.number, ""
        yield self._render_ready(resumed=resumes)
        names = self._list_missed(reader.last_version) if resumes and reader.last_version is not None else []
        while not self._feeds.closed:
            version = self._reflector.version
            events = list(self._render_changes(filter(reader.wants, names)))
            queue = self._render_queue() if reader.queue else ""
            if queue != shown:
                events.append(("queue", queue))
                shown = queue
            for number, (event, text) in enumerate(events, 1):
                # Whoever reads a part of these goes on before all of them.
                id_ = str(version) if number == len(events) else None
                yield format_sse_event(event=event, data_str=text, id=id_)
            await asyncio.sleep(PACE_SECONDS if events else 0)
            if not await self._wait_for_change(seen, reader, shown):
                yield KEEP_ALIVE
            if seen < journal.forgotten:
                yield self._render_ready(resumed=False)
                seen = journal.number
            names, seen = journal.list_since(seen), journal.number

    def _can_resume(self, version: int | None) -> bool:
        """Whether all that happened after this version is known, deletions too."""
        known = max(self._reflector.listed_version, self._cache.journal.forgotten_version)
        return version is not None and known <= version and self._reflector.knows(version)

    def _list_missed(self, version: int) -> list[str]:
        changed = [job.name for job in self._cache.list_changed_since(version)]
        return [*changed, *self._cache.journal.list_removed_since_version(version)]

    def _render_ready(self, *, resumed: bool) -> bytes:
        version = self._reflector.version
        text = json.dumps({"revision": version, "resumed": resumed})
        return format_sse_event(event="ready", data_str=text, id=str(version))

    def _render_changes(self, names: Iterator[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            job = self._cache.get(name)
            if job is None:
                yield "removed", json.dumps({"job_id": name})
            else:
                yield "job", self._render_job(job)

    def _render_job(self, job: JobSnapshot) -> str:
        position = self._cache.find_position(job)
        key = (job.uid, job.version, position)
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = make_job_summary(job, position=position).model_dump_json()
            if len(self._texts) > MAX_TEXTS:
                del self._texts[next(iter(self._texts))]
        return text

    def _render_queue(self) -> str:
        overview = self._cache.get_overview()
        if self._queue[0] is not overview:
            queued = [{"job_id": name, "position": place} for place, name in enumerate(overview.queued[:MAX_QUEUED])]
            self._queue = overview, json.dumps({"queue_size": len(overview.queued), "queued_jobs": queued})
        return self._queue[1]

    async def _wait_for_change(self, seen: int, reader: PageReader, shown: str) -> bool:
        """Wait until there is something to send; return False if nothing is for as long as proxies wait."""

        def has_news() -> bool:
            names = self._cache.journal.list_since(seen)
            return any(map(reader.wants, names)) or (reader.queue and self._render_queue() != shown)

        return await _wait_until(has_news, self._feeds)


async def _wait_until(has_news: Callable[[], bool], feeds: JobFeeds) -> bool:
    try:
        async with asyncio.timeout(KEEP_ALIVE_SECONDS):
            while not feeds.closed and not has_news():
                await feeds.wait_for_look()
    except TimeoutError:
        return False
    return True
