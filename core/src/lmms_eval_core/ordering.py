"""The order of the queue: priority, then age, then uid. The operator starts by it, the front end counts positions by
it.

Kubernetes keeps the age to the second. Within one, a watch knows more: the resourceVersion at which an object was first
seen grows with every creation, whoever created it. After a restart it is that of the object's last change, if it had
any.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar


class Queueable(Protocol):
    """What the order looks at."""

    @property
    def uid(self) -> str:
        """The object's uid, the last tie-break."""

    @property
    def priority(self) -> int:
        """spec.priority: higher first."""

    @property
    def created_at(self) -> str:
        """metadata.creationTimestamp, RFC 3339 in UTC: sorts as text."""


class QueueKey(NamedTuple):
    """Sorts ascending into queue order."""

    negated_priority: int
    created_at: str
    first_seen: int
    uid: str


class Standing(IntEnum):
    """What keeps a queued evaluation from its turn.

    The operator skips all but the first: others do not wait for those.
    """

    MAY_START = 0
    DELAYED = 1
    HELD = 2


def standing(*, held: bool, delayed: bool) -> Standing:
    """Return the standing of an evaluation that is on hold, or whose next attempt is delayed (status.nextAttemptAt)."""
    return Standing.HELD if held else Standing.DELAYED if delayed else Standing.MAY_START


def queue_key(item: Queueable, *, first_seen: int = 0) -> QueueKey:
    """Return the sort key of a queued evaluation.

    `first_seen` is the first resourceVersion that was seen of it, 0 if unknown.
    """
    return QueueKey(-item.priority, item.created_at, first_seen, item.uid)


QueueableT = TypeVar("QueueableT", bound=Queueable)


def sort_queue(items: Iterable[QueueableT]) -> list[QueueableT]:
    """Return the queued evaluations in the order in which they start."""
    return sorted(items, key=queue_key)
