"""Which finished evaluations are to be deleted. Pure.

Beside the other policies and not one of them: those look at the view, which holds nothing that has ended. `retention`
keeps what this one looks at.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase
from lmms_eval_core.schema import parse_moment

# A client that waits for its job asks every few seconds.
ASKED_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluation that has ended, and may be deleted one day. `ended_at` in Unix seconds."""

    uid: str
    name: str
    version: str
    ended_at: float
    ttl: int | None = None
    from_api: bool = False
    completed: bool = True
    """Whether it has results, which nothing but deleting it takes away."""

    @property
    def due_at(self) -> float:
        """When its own time is over; infinite if it has none."""
        return float("inf") if self.ttl is None else self.ended_at + self.ttl

    @property
    def asked_until(self) -> float:
        """Until when a caller may ask how it ended, where there are no results."""
        return self.ended_at + ASKED_SECONDS


class Retained(NamedTuple):
    """What to delete now, the oldest first, and when the next one is due, in Unix seconds; infinite if none is."""

    expired: list[Finished]
    due_at: float


def retain(finished: Collection[Finished], now: float, *, max_finished: int) -> Retained:
    """Return what to delete: what has outlived its own time, and of the rest that the front end created all but
    `max_finished`.

    0 keeps all of them. Those that people or GitOps created go by their own time alone. Of the others those without
    results go first, but not before their callers have had time to ask how they ended: until then they do not count.
    """
    expired = [item for item in finished if item.due_at <= now]
    rest = [item for item in finished if item.due_at > now]
    counted = (
        [item for item in rest if item.from_api and (item.completed or item.asked_until <= now)] if max_finished else []
    )
    surplus = sorted(counted, key=lambda item: (item.completed, item.ended_at, item.uid))[
        : max(0, len(counted) - max_finished)
    ]
    asked = (item.asked_until for item in rest if item.from_api and not item.completed and item.asked_until > now)
    due_at = min(*(item.due_at for item in rest), *(asked if max_finished else ()), float("inf"), float("inf"))
    return Retained(_sort_by_end([*expired, *surplus]), due_at)


def parse_finished(item: Object) -> Finished | None:
    """Parse the API server's JSON; None for what stays until somebody deletes it, and for what is being deleted.

    What is kept takes nobody's place among those that stay.
    """
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    labels = metadata.get("labels") or {}
    ttl, from_api = spec.get("ttlSecondsAfterFinished"), labels.get(names.LABEL_CREATED_BY) == names.CREATED_BY_API
    ended_at = parse_moment(status.get("completedAt"))
    is_kept = bool(spec.get("keep")) or (ttl is None and not from_api)
    if ended_at is None or "deletionTimestamp" in metadata or is_kept:
        return None
    return Finished(
        uid=metadata["uid"],
        name=metadata["name"],
        version=metadata["resourceVersion"],
        ended_at=ended_at.timestamp(),
        ttl=ttl,
        from_api=from_api,
        completed=status.get("phase") == Phase.COMPLETED,
    )


def _sort_by_end(items: Iterable[Finished]) -> list[Finished]:
    return sorted(items, key=lambda item: (item.ended_at, item.uid))
