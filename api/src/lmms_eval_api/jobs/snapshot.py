"""One state of an LMMEvaluation as a job: the few facts that the cache looks at, and the object itself. Pure.

Objects are read key by key, as the API server sends them: one written by a newer release must not make a reader fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.ordering import QueueKey, Standing, queue_key, standing
from lmms_eval_core.phases import Phase
from lmms_eval_core.schema import parse_moment
from lmms_eval_core.wire import JobStatus

STATUS_BY_PHASE = {phase.value: JobStatus(phase.value.lower()) for phase in Phase}
UNREADABLE = "The front end cannot read this object; its log says why."
ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class QueuePlace(NamedTuple):
    """Sorts in the order of the queue; jobs that may not start now come after all that may."""

    standing: Standing
    key: QueueKey
    name: str


class ListingKey(NamedTuple):
    """Sorts the newest first, and jobs of one second by name."""

    negated_second: int
    name: str


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """One state of one job.

    `version` grows with every change of any object; `first_seen` is the version in which the job was first seen.
    `due_at` is the Unix time before which its next attempt does not start. `text` is the object as JSON.
    """

    name: str
    uid: str
    version: int
    first_seen: int
    status: JobStatus
    priority: int
    created_at: str
    started_at: str
    held: bool
    due_at: float
    model: str
    tasks: tuple[str, ...]
    labels: Mapping[str, str]
    text: bytes

    @property
    def document(self) -> Object:
        """The object as the API server sent it, without its field managers; a new copy every time."""
        return msgspec.json.decode(self.text, type=Object)

    def find_place(self, now: float) -> QueuePlace:
        """Return its place in the queue at this Unix time."""
        found = standing(held=self.held, delayed=self.due_at > now)
        return QueuePlace(found, queue_key(self, first_seen=self.first_seen), self.name)

    @property
    def listing_key(self) -> ListingKey:
        """Its place in a list of jobs."""
        return ListingKey(-int(datetime.fromisoformat(self.created_at).timestamp()), self.name)


def make_snapshot(document: Object, *, first_seen: int | None = None) -> JobSnapshot:
    """Return the job in an object; `first_seen` is its own version unless an older one is given.

    The object is kept as text: ten thousand objects with their scores are 30 MB of text and 150 MB of dicts.
    """
    metadata, spec, status = document["metadata"], document["spec"], document.get("status", {})
    kept = document | {"metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    return JobSnapshot(
        name=metadata["name"],
        uid=metadata["uid"],
        version=read_version(document),
        first_seen=read_version(document) if first_seen is None else first_seen,
        status=_read_status(spec, status),
        priority=spec.get("priority", 0),
        created_at=metadata["creationTimestamp"],
        started_at=status.get("startedAt", ""),
        held=bool(spec.get("hold")),
        due_at=_read_unix_time(status.get("nextAttemptAt")),
        model=spec.get("model", ""),
        tasks=_share(tuple(spec.get("tasks", ()))),
        labels=read_labels(metadata),
        text=msgspec.json.encode(kept),
    )


def make_unreadable_snapshot(document: Object) -> JobSnapshot:
    """Return a stand-in for an object that `make_snapshot` cannot read: its name, its state, and a sentence."""
    metadata, status = document["metadata"], document.get("status")
    phase = status.get("phase") if isinstance(status, dict) else None
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    shown = {"phase": phase if phase in STATUS_BY_PHASE else Phase.QUEUED, "message": UNREADABLE}
    return make_snapshot({"metadata": kept, "spec": {"model": "", "tasks": []}, "status": shown})


@lru_cache(maxsize=1024)
def _share(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Return one tuple for equal tuples: thousands of jobs run a few sets of tasks."""
    return tasks


def read_version(document: Object) -> int:
    """Return the resource version, which grows with every change of any object; 0 for a dry run."""
    return int(document["metadata"].get("resourceVersion") or 0)


def read_labels(metadata: Object) -> dict[str, str]:
    """Return the labels that users set, without our own."""
    return {key: value for key, value in metadata.get("labels", {}).items() if not key.startswith(f"{names.GROUP}/")}


def _read_unix_time(text: object) -> float:
    moment = parse_moment(text)
    return moment.timestamp() if moment is not None else 0.0


def _read_status(spec: Object, status: Object) -> JobStatus:
    shown = STATUS_BY_PHASE.get(status.get("phase", Phase.QUEUED), JobStatus.QUEUED)
    # A queued job that is to be cancelled cannot start any more: the operator's start has a precondition on its
    # version.
    return JobStatus.CANCELLED if shown is JobStatus.QUEUED and spec.get("cancel") else shown
