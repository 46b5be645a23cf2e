"""An LMMEvaluation as a job of the wire: the few facts that the cache looks at, beside the object itself. Pure.

Objects are read as they come from the API server, key by key: one written by a newer release must not make a reader fail.
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

STATUS = {phase.value: JobStatus(phase.value.lower()) for phase in Phase}
UNREADABLE = "The front end cannot read this object; its log says why."
ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class Place(NamedTuple):
    """Sorts into the order of the queue; what may not start now stands behind everything that may."""

    standing: Standing
    key: QueueKey
    name: str


class Age(NamedTuple):
    """Sorts the newest first, and jobs of one second by their names."""

    negated_second: int
    name: str


@dataclass(frozen=True, slots=True)
class Job:
    """One job. `version` grows with every change of any object; `first_seen` is the one in which we met this job.

    `due_at` is the Unix time before which its next attempt does not start.
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

    def place(self, now: float) -> Place:
        """Where it stands while it is queued, at this Unix time."""
        found = standing(held=self.held, delayed=self.due_at > now)
        return Place(found, queue_key(self, first_seen=self.first_seen), self.name)

    @property
    def age(self) -> Age:
        """Where it stands in a list."""
        return Age(-int(datetime.fromisoformat(self.created_at).timestamp()), self.name)


def job_of(document: Object, *, first_seen: int | None = None) -> Job:
    """The job in an object, which is met in this version unless an older one is known.

    Kept as text: ten thousand objects with their scores are 30 MB of text and 150 MB of dicts.
    """
    metadata, spec, status = document["metadata"], document["spec"], document.get("status", {})
    kept = document | {"metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        version=version_of(document),
        first_seen=version_of(document) if first_seen is None else first_seen,
        status=_status(spec, status),
        priority=spec.get("priority", 0),
        created_at=metadata["creationTimestamp"],
        started_at=status.get("startedAt", ""),
        held=bool(spec.get("hold")),
        due_at=_unix(status.get("nextAttemptAt")),
        model=spec.get("model", ""),
        tasks=_shared(tuple(spec.get("tasks", ()))),
        labels=labels_of(metadata),
        text=msgspec.json.encode(kept),
    )


def unreadable(document: Object) -> Job:
    """What stands for an object of which `job_of` makes no job: its name, its state, and a sentence."""
    metadata, status = document["metadata"], document.get("status")
    phase = status.get("phase") if isinstance(status, dict) else None
    kept = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    shown = {"phase": phase if phase in STATUS else Phase.QUEUED, "message": UNREADABLE}
    return job_of({"metadata": kept, "spec": {"model": "", "tasks": []}, "status": shown})


@lru_cache(maxsize=1024)
def _shared(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for the same tasks: thousands of jobs run a few sets of them."""
    return tasks


def version_of(document: Object) -> int:
    """Grows with every change of any object; 0 for what was only rehearsed."""
    return int(document["metadata"].get("resourceVersion") or 0)


def labels_of(metadata: Object) -> dict[str, str]:
    """The labels that somebody gave it; ours are not for callers."""
    return {key: value for key, value in metadata.get("labels", {}).items() if not key.startswith(f"{names.GROUP}/")}


def _unix(text: object) -> float:
    moment = parse_moment(text)
    return moment.timestamp() if moment is not None else 0.0


def _status(spec: Object, status: Object) -> JobStatus:
    shown = STATUS.get(status.get("phase", Phase.QUEUED), JobStatus.QUEUED)
    # A queued one that is to be cancelled cannot start any more: the operator's start is guarded by its version.
    return JobStatus.CANCELLED if shown is JobStatus.QUEUED and spec.get("cancel") else shown
