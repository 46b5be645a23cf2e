"""The two clocks of a decision, read once a round and passed in: policies read none themselves."""

from datetime import datetime
from typing import NamedTuple


class Now(NamedTuple):
    """A moment on both clocks."""

    monotonic: float
    """Seconds; for what this process saw."""
    time: datetime
    """UTC; for moments that the API server keeps, so that another operator goes on counting from them."""


def seconds_until(timestamp: str, seconds: float, now: Now) -> float:
    """Seconds until `seconds` after `timestamp` (RFC 3339) have passed; not below 0."""
    return max(0.0, seconds - (now.time - datetime.fromisoformat(timestamp)).total_seconds())
