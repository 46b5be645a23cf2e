"""Which finished evaluations have had their time. Pure.

Beside the other policies and not one of them: those look at the view, which holds nothing that has ended. `retention` keeps
what this one looks at.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.schema import read_moment


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluation that has ended, and may have to go one day. `ended_at` in Unix seconds."""

    uid: str
    name: str
    version: str
    ended_at: float
    ttl: int | None = None
    from_api: bool = False

    @property
    def due_at(self) -> float:
        """When its own time is over; infinite if it has none."""
        return float("inf") if self.ttl is None else self.ended_at + self.ttl


class Retained(NamedTuple):
    """What to delete now, the oldest first, and when the next one is due, in Unix seconds; infinite if none is."""

    over: list[Finished]
    due_at: float


def retain(finished: Collection[Finished], now: float, *, max_finished: int) -> Retained:
    """Deletes what has outlived its own time, and of the rest that the front end created all but the youngest `max_finished`.

    0 keeps all of them. Those that people or GitOps created go by their own time alone.
    """
    expired = [item for item in finished if item.due_at <= now]
    rest = [item for item in finished if item.due_at > now]
    surplus = _oldest_first(item for item in rest if item.from_api)[:-max_finished] if max_finished else []
    due_at = min((item.due_at for item in rest), default=float("inf"))
    return Retained(_oldest_first([*expired, *surplus]), due_at)


def finished(item: Object) -> Finished | None:
    """From the API server's JSON; None of what stays until somebody deletes it, and of what is being deleted."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    labels = metadata.get("labels") or {}
    ttl, from_api = spec.get("ttlSecondsAfterFinished"), labels.get(names.LABEL_CREATED_BY) == names.CREATED_BY_API
    ended_at = read_moment(status.get("completedAt"))
    if ended_at is None or "deletionTimestamp" in metadata or (ttl is None and not from_api):
        return None
    return Finished(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        ended_at=ended_at.timestamp(),
        ttl=ttl,
        from_api=from_api,
    )


def _oldest_first(items: Iterable[Finished]) -> list[Finished]:
    return sorted(items, key=lambda item: (item.ended_at, item.uid))
