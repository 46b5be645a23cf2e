"""When a request is sent again, and after how long. Pure but for the jitter, whose source can be given."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx

BUSY: Final = frozenset({429, 502, 503, 504})
# The server has said that it did nothing, or was never reached: even what must not happen twice may be sent again.
NOTHING_DONE: Final = frozenset({429, 503})

CallOutcome = httpx.Response | httpx.TransportError


@dataclass(frozen=True)
class Retries:
    """When and how often a client tries again.

    The pause doubles from `first_pause` to `longest_pause` seconds, half of it at random.

    attempts: of one request, the first included; 1 means no retry. stream_attempts: connections in a row that brought
    nothing, of a stream of events or of a log; what follows an evaluation for hours must outlive an update of the
    server. longest_retry_after: a server that asks for a longer pause, in seconds, is not asked again.
    """

    attempts: int = 6
    stream_attempts: int = 20
    first_pause: float = 0.5
    longest_pause: float = 20.0
    longest_retry_after: float = 120.0
    random: Callable[[], float] = random.random

    def pause(self, outcome: CallOutcome, *, attempt: int, of: int, repeatable: bool) -> float | None:
        """Seconds until the next attempt; None when there is none. `attempt` counts from 1."""
        if attempt >= of or not can_repeat(outcome, repeatable=repeatable):
            return None
        asked = _read_retry_after(outcome)
        if asked > self.longest_retry_after:
            return None
        # Jitter comes on top of what the server asks for: all who were refused together would come back together.
        return asked + self._compute_backoff(attempt)

    def _compute_backoff(self, attempt: int) -> float:
        longest = min(self.longest_pause, self.first_pause * 2 ** min(attempt - 1, 32))
        return float(longest * (1 + self.random()) / 2)


def can_repeat(outcome: CallOutcome, *, repeatable: bool) -> bool:
    """Return whether another attempt may end otherwise, and does no harm."""
    if isinstance(outcome, httpx.Response):
        return outcome.status_code in (BUSY if repeatable else NOTHING_DONE)
    if isinstance(outcome, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return False
    return repeatable or isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _read_retry_after(outcome: CallOutcome) -> float:
    """Return the seconds that the server asks for; dates are not in use."""
    if not isinstance(outcome, httpx.Response):
        return 0.0
    text = outcome.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdigit() else 0.0
