"""The order of the queue: priority, then age, then uid. The operator starts by it, the front end counts positions by it."""

from collections.abc import Iterable
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
    uid: str


def queue_key(item: Queueable) -> QueueKey:
    """The sort key of one queued evaluation."""
    return QueueKey(-item.priority, item.created_at, item.uid)


QueueableT = TypeVar("QueueableT", bound=Queueable)


def in_order(items: Iterable[QueueableT]) -> list[QueueableT]:
    """The queued evaluations in the order in which they start."""
    return sorted(items, key=queue_key)
