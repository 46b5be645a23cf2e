"""All evaluations of the release in memory, kept up to date by a reflector: what every read is answered from.

It is a mirror of `lmms_eval_core.kube.reflector`, and learns besides from the answers to our own writes, so that a caller reads
what it wrote. Of two states of one object the newer one stays, in whatever order they arrive.
"""

import logging
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from lmms_eval_api.jobs.listing import Page
from lmms_eval_api.jobs.snapshot import Age, Job, Place, job_of, unreadable, version_of
from lmms_eval_core.kube.client import Object
from lmms_eval_core.ordering import Standing
from lmms_eval_core.wire import JobStatus, QueueStatusResponse

# Answers may still be under way when their object is deleted; never more than there are open requests.
REMEMBERED_DELETIONS: Final = 4096

log = logging.getLogger("lmms_eval_api.cache")


@dataclass(frozen=True)
class Overview:
    """The queue as a whole: names in the order in which they start, the oldest running one, counts of the ended."""

    queued: list[str]
    running: str | None
    completed: int
    failed: int

    @cached_property
    def answer(self) -> bytes:
        """The answer of GET /queue: made once, as ten thousand names are 400 KB."""
        status = QueueStatusResponse(
            queue_size=len(self.queued),
            running_job=self.running,
            queued_jobs=self.queued,
            completed_jobs=self.completed,
            failed_jobs=self.failed,
        )
        return status.model_dump_json().encode()


class JobCache:
    """A `Mirror` of jobs. A position, or the beginning of a page, costs a binary search: what is in order is not sorted anew.

    `changed` is called after every change, and must be quick; `changes` is another number after every change. Some come with
    the time of day (`clock`): a job that was to wait for its next attempt has waited.
    """

    def __init__(self, *, changed: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.time) -> None:
        self.changed = changed
        self._clock = clock
        self._changes = 0
        self._jobs: dict[str, Job] = {}
        self._line: list[Place] = []
        self._places: dict[str, Place] = {}
        self._delayed: list[tuple[float, str]] = []
        self._ages: list[Age] = []
        self._running: dict[str, Job] = {}
        self._counts: Counter[JobStatus] = Counter()
        self._deleted: dict[str, None] = {}
        self._overview: Overview | None = None

    def __len__(self) -> int:
        """Number of jobs, ended ones included."""
        return len(self._jobs)

    def get(self, name: str) -> Job | None:
        """The job of this name, if it is known."""
        return self._jobs.get(name)

    @property
    def changes(self) -> int:
        """Another number after every change."""
        self.move_on()
        return self._changes

    def seconds_to_move(self) -> float | None:
        """After how long the queue is another one though nothing was heard; None where it stays."""
        return max(0.0, self._delayed[0][0] - self._clock()) if self._delayed else None

    @property
    def queue_size(self) -> int:
        """Number of queued jobs."""
        return len(self._line)

    def position(self, job: Job) -> int | None:
        """Number of jobs before it in the queue; None if it is not queued."""
        self.move_on()
        return bisect_left(self._line, self._place(job)) if job.status is JobStatus.QUEUED else None

    def overview(self) -> Overview:
        """The queue, computed once for every change of it; not to be altered."""
        self.move_on()
        if self._overview is None:
            oldest = min(self._running.values(), key=lambda job: (job.started_at, job.name), default=None)
            self._overview = Overview(
                queued=[place.name for place in self._line],
                running=oldest.name if oldest else None,
                completed=self._counts[JobStatus.COMPLETED],
                failed=self._counts[JobStatus.FAILED],
            )
        return self._overview

    def page(self, wanted: Callable[[Job], bool], *, after: Age | None, limit: int) -> Page:
        """The newest `limit` jobs among those that are wanted and older than the one that `after` was."""
        start = bisect_right(self._ages, after) if after is not None else 0
        jobs = (self._jobs[age.name] for age in islice(self._ages, start, None))
        found = list(islice(filter(wanted, jobs), limit + 1))
        return Page(found[:limit], found[limit - 1].age if len(found) > limit else None)

    def newest(self, item: Object) -> Job:
        """The projection for this mirror: the job in an object, or what we know of the same one if that is no older."""
        known = self._jobs.get(item["metadata"]["name"])
        if known is None or known.uid != item["metadata"]["uid"]:
            return _job(item, first_seen=None)
        return known if known.version >= version_of(item) else _job(item, first_seen=known.first_seen)

    def forget(self) -> None:
        """Knows nothing any more, not even what was deleted: versions begin anew."""
        self._deleted.clear()
        self.replace([])

    def replace(self, items: list[Job]) -> None:
        """See `Mirror`. A job that we know in a newer state than the list keeps that state."""
        jobs = [self._newer(item) for item in items]
        self._jobs, self._running, self._counts = {}, {}, Counter()
        self._places, self._delayed = {}, []
        for job in jobs:
            self._count(job)
        self._line = sorted(self._places.values())
        self._ages = sorted(job.age for job in jobs)
        self._tell()

    def update(self, item: Job) -> None:
        """See `Mirror`. Not if it is deleted, or known in a newer state."""
        known, job = self._jobs.get(item.name), self._newer(item)
        if job is known or job.uid in self._deleted:
            return
        if known is not None:
            self._forget(known)
        self._count(job)
        insort(self._ages, job.age)
        if job.name in self._places:
            insort(self._line, self._places[job.name])
        self._tell()

    def remove(self, item: Job) -> None:
        """See `Mirror`."""
        self._deleted[item.uid] = None
        if len(self._deleted) > REMEMBERED_DELETIONS:
            del self._deleted[next(iter(self._deleted))]
        known = self._jobs.get(item.name)
        if known is not None and known.uid == item.uid:
            self._forget(known)
            self._tell()

    def learn(self, item: Object) -> Job:
        """Takes in an object that the API server sent in answer to a write; gives its newest state that we know."""
        job = self.newest(item)
        self.update(job)
        return job

    def _newer(self, job: Job) -> Job:
        known = self._jobs.get(job.name)
        return known if known is not None and known.version >= job.version else job

    def _count(self, job: Job) -> None:
        self._jobs[job.name] = job
        self._counts[job.status] += 1
        if job.status is JobStatus.RUNNING:
            self._running[job.name] = job
        if job.status is JobStatus.QUEUED:
            place = self._places[job.name] = self._place(job)
            if place.standing is Standing.DELAYED:
                heappush(self._delayed, (job.due_at, job.name))

    def _forget(self, job: Job) -> None:
        del self._jobs[job.name]
        self._counts[job.status] -= 1
        self._running.pop(job.name, None)
        del self._ages[bisect_left(self._ages, job.age)]
        place = self._places.pop(job.name, None)
        if place is not None:
            del self._line[bisect_left(self._line, place)]

    def _place(self, job: Job) -> Place:
        """Where it stands in the line; for a state that is not the newest, where it would."""
        return (
            self._places[job.name] if self._jobs.get(job.name) is job and job.name in self._places else job.place(self._clock())
        )

    def move_on(self) -> None:
        """Moves those to their places whose time has come."""
        if not self._delayed or self._delayed[0][0] > self._clock():
            return
        while self._delayed and self._delayed[0][0] <= self._clock():
            self._give_place(heappop(self._delayed)[1])
        self._tell()

    def _give_place(self, name: str) -> None:
        place = self._places.get(name)
        if place is not None:
            del self._line[bisect_left(self._line, place)]
            self._places[name] = self._jobs[name].place(self._clock())
            insort(self._line, self._places[name])

    def _tell(self) -> None:
        self._overview = None
        self._changes += 1
        self.changed()


def _job(item: Object, *, first_seen: int | None) -> Job:
    """The job in an object. What is odd about one must not end the watch, which is everybody's."""
    try:
        return job_of(item, first_seen=first_seen)
    except Exception:
        log.exception("an evaluation cannot be read", extra={"evaluation": item["metadata"]["name"]})
        return unreadable(item)
