"""All evaluations of the release in memory, kept up to date by a reflector: every read is answered from here.

The cache is a `Mirror` of `lmms_eval_core.kube.reflector`. It learns from the responses to our own writes too, so that
a caller reads what it wrote. Of two states of one object the newer one stays, in whatever order they arrive.
"""

import logging
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from lmms_eval_api.jobs.change_journal import ChangeJournal
from lmms_eval_api.jobs.listing import JobPage
from lmms_eval_api.jobs.snapshot import (
    JobSnapshot,
    ListingKey,
    QueuePlace,
    make_snapshot,
    make_unreadable_snapshot,
    read_version,
)
from lmms_eval_core.kube.client import Object
from lmms_eval_core.ordering import Standing
from lmms_eval_core.wire import JobStatus, QueueStatusResponse

# An object may still arrive in a response when it is deleted already; never more of them than there are open requests.
REMEMBERED_DELETIONS: Final = 4096

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.cache")


@dataclass(frozen=True)
class QueueOverview:
    """The queue as a whole: names in the order in which they start, the oldest running job, counts of ended jobs."""

    queued: list[str]
    running: str | None
    completed: int
    failed: int

    @cached_property
    def response_body(self) -> bytes:
        """The body of GET /queue. Cached, as ten thousand names are 400 KB."""
        status = QueueStatusResponse(
            queue_size=len(self.queued),
            running_job=self.running,
            queued_jobs=self.queued,
            completed_jobs=self.completed,
            failed_jobs=self.failed,
        )
        return status.model_dump_json().encode()


class JobCache:
    """A `Mirror` of jobs, kept sorted: a position, or the beginning of a page, costs a binary search.

    `on_change` is called after every change, and must be quick. `clock` returns Unix seconds: with time, a job that
    waits for its next attempt becomes due and moves in the queue.
    """

    def __init__(self, *, on_change: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.time) -> None:
        self.on_change = on_change
        self.journal = ChangeJournal()
        self._clock = clock
        self._changes = 0
        self._jobs: dict[str, JobSnapshot] = {}
        self._queue: list[QueuePlace] = []
        self._places: dict[str, QueuePlace] = {}
        self._delayed: list[tuple[float, str]] = []
        self._listing: list[ListingKey] = []
        self._running: dict[str, JobSnapshot] = {}
        self._counts: Counter[JobStatus] = Counter()
        self._deleted: dict[str, None] = {}
        self._overview: QueueOverview | None = None

    def __len__(self) -> int:
        """Number of jobs, ended ones included."""
        return len(self._jobs)

    def get(self, name: str) -> JobSnapshot | None:
        """Return the job of this name, if it is known."""
        return self._jobs.get(name)

    @property
    def changes(self) -> int:
        """A number that differs after every change."""
        self.move_due()
        return self._changes

    def get_seconds_until_move(self) -> float | None:
        """Return the seconds until the next job becomes due, which moves it in the queue; None if none waits."""
        return max(0.0, self._delayed[0][0] - self._clock()) if self._delayed else None

    @property
    def queue_size(self) -> int:
        """Number of queued jobs."""
        return len(self._queue)

    def find_position(self, job: JobSnapshot) -> int | None:
        """Return the number of jobs before it in the queue; None if it is not queued."""
        self.move_due()
        return bisect_left(self._queue, self._find_place(job)) if job.status is JobStatus.QUEUED else None

    def get_overview(self) -> QueueOverview:
        """Return the queue, computed once after each change; not to be altered."""
        self.move_due()
        if self._overview is None:
            oldest = min(self._running.values(), key=lambda job: (job.started_at, job.name), default=None)
            self._overview = QueueOverview(
                queued=[place.name for place in self._queue],
                running=oldest.name if oldest else None,
                completed=self._counts[JobStatus.COMPLETED],
                failed=self._counts[JobStatus.FAILED],
            )
        return self._overview

    def list_changed_since(self, version: int) -> list[JobSnapshot]:
        """Return the jobs whose newest state is newer than this resource version."""
        return [job for job in self._jobs.values() if job.version > version]

    def list_page(self, wanted: Callable[[JobSnapshot], bool], *, after: ListingKey | None, limit: int) -> JobPage:
        """Return the newest `limit` jobs that are wanted and come after the listing key `after`."""
        start = bisect_right(self._listing, after) if after is not None else 0
        jobs = (self._jobs[age.name] for age in islice(self._listing, start, None))
        found = list(islice(filter(wanted, jobs), limit + 1))
        return JobPage(found[:limit], found[limit - 1].listing_key if len(found) > limit else None)

    def project(self, item: Object) -> JobSnapshot:
        """Return the job in an object, or the known one of its uid if that is no older: the reflector's projection."""
        known = self._jobs.get(item["metadata"]["name"])
        if known is None or known.uid != item["metadata"]["uid"]:
            return _read_job(item, first_seen=None)
        return known if known.version >= read_version(item) else _read_job(item, first_seen=known.first_seen)

    def forget(self) -> None:
        """Drop everything, deletions too: resource versions start anew."""
        self._deleted.clear()
        self.replace([])

    def replace(self, items: list[JobSnapshot]) -> None:
        """See `Mirror`. A job that is known in a newer state than the list has keeps that state."""
        jobs = [self._choose_newer(item) for item in items]
        self._record_difference({job.name: job for job in jobs})
        self._jobs, self._running, self._counts = {}, {}, Counter()
        self._places, self._delayed = {}, []
        for job in jobs:
            self._add(job)
        self._queue = sorted(self._places.values())
        self._listing = sorted(job.listing_key for job in jobs)
        self._notify()

    def update(self, item: JobSnapshot) -> None:
        """See `Mirror`. Ignored for a job that is deleted, or known in a newer state."""
        known, job = self._jobs.get(item.name), self._choose_newer(item)
        if job is known or job.uid in self._deleted:
            return
        if known is not None:
            self._discard(known)
        self._add(job)
        self.journal.record_change(job.name)
        insort(self._listing, job.listing_key)
        if job.name in self._places:
            insort(self._queue, self._places[job.name])
        self._notify()

    def remove(self, item: JobSnapshot) -> None:
        """See `Mirror`."""
        self._deleted[item.uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        known = self._jobs.get(item.name)
        if known is not None and known.uid == item.uid:
            self._discard(known)
            self.journal.record_removal(item.name, version=item.version)
            self._notify()

    def learn(self, item: Object) -> JobSnapshot:
        """Add an object that the API server returned to a write; return the newest state that is known of it."""
        job = self.project(item)
        self.update(job)
        return job

    def _record_difference(self, jobs: Mapping[str, JobSnapshot]) -> None:
        for name in self._jobs.keys() - jobs.keys():
            self.journal.record_removal(name)
        for name, job in jobs.items():
            if self._jobs.get(name) is not job:
                self.journal.record_change(name)

    def _choose_newer(self, job: JobSnapshot) -> JobSnapshot:
        known = self._jobs.get(job.name)
        return known if known is not None and known.version >= job.version else job

    def _add(self, job: JobSnapshot) -> None:
        self._jobs[job.name] = job
        self._counts[job.status] += 1
        if job.status is JobStatus.RUNNING:
            self._running[job.name] = job
        if job.status is JobStatus.QUEUED:
            place = self._places[job.name] = self._find_place(job)
            if place.standing is Standing.DELAYED:
                heappush(self._delayed, (job.due_at, job.name))

    def _discard(self, job: JobSnapshot) -> None:
        del self._jobs[job.name]
        self._counts[job.status] -= 1
        self._running.pop(job.name, None)
        del self._listing[bisect_left(self._listing, job.listing_key)]
        place = self._places.pop(job.name, None)
        if place is not None:
            del self._queue[bisect_left(self._queue, place)]

    def _find_place(self, job: JobSnapshot) -> QueuePlace:
        """Return its place in the queue; for a state that is not the newest, the place that state would have."""
        return (
            self._places[job.name]
            if self._jobs.get(job.name) is job and job.name in self._places
            else job.find_place(self._clock())
        )

    def move_due(self) -> None:
        """Move the jobs that have become due to their new places."""
        if not self._delayed or self._delayed[0][0] > self._clock():
            return
        while self._delayed and self._delayed[0][0] <= self._clock():
            self._move_to_place(heappop(self._delayed)[1])
        self._notify()

    def _move_to_place(self, name: str) -> None:
        place = self._places.get(name)
        if place is not None:
            del self._queue[bisect_left(self._queue, place)]
            self._places[name] = self._jobs[name].find_place(self._clock())
            insort(self._queue, self._places[name])

    def _notify(self) -> None:
        self._overview = None
        self._changes += 1
        self.on_change()


def _read_job(item: Object, *, first_seen: int | None) -> JobSnapshot:
    """Return the job in an object. One that cannot be read must not end the watch, which all jobs share."""
    try:
        return make_snapshot(item, first_seen=first_seen)
    except Exception:
        log.exception("an evaluation cannot be read", extra={"evaluation": item["metadata"]["name"]})
        return make_unreadable_snapshot(item)
