"""What could not be done, action by action: each is tried again after a wait of its own, so that it holds up no other.

`reconcile` records it and tries again, `plan.finish` keeps the sentence in the message of the evaluation that it is about.
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
    """The failures that were not made good yet, by a key that says what was tried."""

    def __init__(self) -> None:
        self._failures: dict[str, Failure] = {}

    def record(self, key: str, *, uid: str, message: str, now: float) -> Failure:
        """It failed again, or for the first time: the wait doubles each time."""
        known = self._failures.get(key)
        times = known.times + 1 if known else 1
        failure = Failure(uid, message, times, now + doubling(FIRST_WAIT_SECONDS, times, LONGEST_WAIT_SECONDS))
        self._failures[key] = failure
        return failure

    def succeeded(self, key: str) -> None:
        """It was done."""
        self._failures.pop(key, None)

    def due_in(self, key: str, now: float) -> float:
        """Seconds until it may be tried again."""
        failure = self._failures.get(key)
        return max(0.0, failure.due_at - now) if failure else 0.0

    def message(self, uid: str) -> str:
        """What could not be done for this evaluation; "" if there is nothing."""
        return next((failure.message for failure in self._failures.values() if failure.uid == uid), "")

    def forget_old(self, now: float) -> None:
        """Drops what is not asked for any more."""
        self._failures = {key: item for key, item in self._failures.items() if now < item.due_at + REMEMBERED_SECONDS}

    def clear(self) -> None:
        """Another operator has been at work."""
        self._failures.clear()


def doubling(first: float, times: int, longest: float) -> float:
    """The wait after the failure number `times`, from 1."""
    return min(first * 2.0 ** min(times - 1, 30), longest)
