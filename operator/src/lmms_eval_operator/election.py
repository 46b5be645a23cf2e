"""The rules of the election of a leader, pure. `elector` follows them, on a Lease.

Replicas agree through one record that is only ever written by compare-and-swap. Each measures time on its own monotonic
clock and nowhere else; the times in the record are for people.

    leader   sends a write at s, and it is done ─▶ leads until s + 7 s, then stands down of itself
    others   see that write at t, later than s  ─▶ may write, on that very version, from t + 10 s on

Hence two never lead at once, however late requests, answers and processes are, while no clock runs faster than 10 : 7
against another. Two things are outside: a write that was under way when the term ended, and a Lease that a person
deleted, which counts as given up (its leader finds out when it renews). Both meet the preconditions of every write: who
leads decides how much replicas disturb each other, never whether a write is safe.
"""

from enum import Enum
from typing import Final, NamedTuple

from lmms_eval_core.kube.lease import Register


class Timing(NamedTuple):
    """Seconds.

    After SIGKILL another leads within lease + 2 x retry, after SIGTERM within retry, and what two calls take.
    """

    lease: float = 10.0
    """How long others leave a record alone that does not change. A takeover is promised within 15 s."""

    deadline: float = 7.0
    """How long a leader goes on without a renewal: time for three calls, and 3 s before anybody else may lead."""

    renew: float = 2.0
    """From one renewal to the next; it may miss two."""

    retry: float = 1.0
    """From one look at the record to the next, and from one failed call to the next.

    The promise after SIGTERM is 2 s.
    """

    @property
    def call(self) -> float:
        """How long one call to the API server may take."""
        return self.deadline / 3


TIMING: Final = Timing()
UNREAD: Final = Register("", "", "")


class Step(Enum):
    """What a replica does next in the election."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    WAIT = "wait"
    STAND_DOWN = "stand down"


class Candidacy(NamedTuple):
    """What one replica knows of the election. A value: other threads see one or the next, never half of it."""

    me: str
    """Its name, of this very process: one that was killed and started again is another candidate."""
    timing: Timing = TIMING
    record: Register = UNREAD
    """As last read or written."""
    since: float = float("-inf")
    """When the record was first seen as it is."""
    term: int = 0
    """How many times it was elected."""
    elected: bool = False
    until: float = float("-inf")
    """When its term ends, if no renewal succeeds."""

    def is_leading(self, now: float) -> bool:
        """Return whether it may act as the leader."""
        return self.elected and self.is_holder and now < self.until

    @property
    def is_holder(self) -> bool:
        """Whether the record names it."""
        return self.record.holder == self.me

    def decide(self, now: float, *, alive: bool) -> Step:
        """Return what to do.

        `alive`: whether the loop that acts for the leader turns; otherwise it keeps and gets no lease.
        """
        if self.elected and not self.is_leading(now):
            return Step.STAND_DOWN
        if self.record == UNREAD or not alive:
            return Step.WAIT
        if self.elected:
            return Step.RENEW
        return (
            Step.ACQUIRE if self.is_holder or self.record.free or now - self.since >= self.timing.lease else Step.WAIT
        )

    def after_read(self, record: Register, now: float) -> "Candidacy":
        """Return the candidacy after a read of the record."""
        if record.resource_version == self.record.resource_version:
            return self
        return self._replace(record=record, since=now)

    def after_write(self, record: Register, *, sent_at: float) -> "Candidacy":
        """Return the candidacy after a write of ours, begun at `sent_at`: the others may have seen it since then."""
        term = self.term if self.elected else self.term + 1
        return self._replace(
            record=record, since=sent_at, term=term, elected=True, until=sent_at + self.timing.deadline
        )

    def after_standing_down(self) -> "Candidacy":
        """Return the candidacy after standing down: a candidate again."""
        return self._replace(elected=False)
