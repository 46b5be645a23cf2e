"""The two clocks of a decision, read once a round and passed in: policies read no clock themselves.

The time of day is the API server's: it stamps objects by it, and all replicas share it, whatever the clocks of their
nodes say.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

# The Date header has whole seconds, and an answer takes its time: by less than this no clock is called wrong.
TOLERATED_SECONDS: Final = 2.0


class ServerClock:
    """The time of day by the API server; that of `own`, the node's, as far as they agree and until
    there was an answer.
    """

    def __init__(self, own: Callable[[], datetime]) -> None:
        self._own = own
        self._offset = timedelta()

    def read_date(self, date: str) -> None:
        """Read the Date header of an answer that has just begun."""
        try:
            offset = parsedate_to_datetime(date).astimezone(UTC) - self._own()
        except ValueError:
            return
        off_by = abs((offset - self._offset).total_seconds())
        if off_by >= TOLERATED_SECONDS:
            self._offset = offset if abs(offset.total_seconds()) >= TOLERATED_SECONDS else timedelta()

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return self._own() + self._offset


class Now(NamedTuple):
    """A moment on both clocks."""

    monotonic: float
    """Seconds; for what this process saw."""
    time: datetime
    """UTC; for moments that the API server keeps, so that another operator goes on counting from them."""


def seconds_until(timestamp: str, seconds: float, now: Now) -> float:
    """Seconds until `seconds` after `timestamp` (RFC 3339) have passed; not below 0."""
    return max(0.0, seconds - (now.time - datetime.fromisoformat(timestamp)).total_seconds())
