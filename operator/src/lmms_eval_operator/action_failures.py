"""The failures of single actions: each is tried again after a wait of its own, so that it holds up no other.

`reconcile` records it and tries again, `plan.finish` keeps the sentence in the message of the evaluation that it is
about.
"""

from typing import Final, NamedTuple

FIRST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 300.0
# One that was due so long ago, and was not tried again, is not asked for any more.
REMEMBERED_SECONDS: Final = 60.0


class Failure(NamedTuple):
    """The last failure of one action; `uid` is the evaluation's, "" if it is about none. `due_at` is monotonic."""

    uid: str
    message: str
    times: int
    due_at: float


class ActionFailures:
    """The failures of actions that have not succeeded since, by a key that says what was tried."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}

    def record_failure(self, key: str, *, uid: str, message: str, now: float) -> Failure:
        """Record that an action failed; return the failure. The wait doubles each time."""
        known = self._failures.get(key)
        times = known.times + 1 if known else 1
        failure = Failure(uid, message, times, now + compute_backoff(FIRST_WAIT_SECONDS, times, LONGEST_WAIT_SECONDS))
        self._failures[key] = failure
        return failure

    def record_success(self, key: str) -> None:
        """Forget the failure of an action that was done."""
        self._failures.pop(key, None)

    def seconds_until_due(self, key: str, now: float) -> float:
        """Seconds until it may be tried again."""
        failure = self._failures.get(key)
        return max(0.0, failure.due_at - now) if failure else 0.0

    def find_message(self, uid: str) -> str:
        """Return what could not be done for this evaluation; "" if there is nothing."""
        return next((failure.message for failure in self._failures.values() if failure.uid == uid), "")

    def forget_old(self, now: float) -> None:
        """Drop failures of actions that are not planned any more."""
        self._failures = {key: item for key, item in self._failures.items() if now < item.due_at + REMEMBERED_SECONDS}

    def clear(self) -> None:
        """Forget all: another operator has been at work."""
        self._failures.clear()


def compute_backoff(first: float, times: int, longest: float) -> float:
    """Return the wait after the failure number `times`, from 1: it doubles up to `longest`."""
    return min(first * 2.0 ** min(times - 1, 30), longest)
