"""Slots: how many evaluations may hold GPUs at once. Each is a Lease whose holder names the attempt that has it.

A Lease is swapped with its resourceVersion (`core.kube.lease`), so two operators cannot both take it. It has no
time-out: it is held until the attempt is known to be over.

Why a slot cannot go to two attempts, though a Lease and an evaluation are two objects and no write covers both:

    start:    read evaluation at version v ─▶ swap Lease to it ─▶ status Running, which tests v
    release:  read Lease at version l ─▶ read evaluation: on hold, cancelled or over ─▶ swap Lease free, which tests l

If the release reads the Lease after the start's swap, it reads the evaluation later still: it finds v, which is
startable, and does not release, or it finds a change, and then either the start's test of v fails or the start was
already done and it does not release. If it read the Lease before, its own swap fails. `Slot.claimed_at` is that v; a
start that knows another version swaps again first.

A start that the cluster refuses gives the slot back by the same rule: the status that tells of it is a change of the
evaluation, so whoever claimed before it cannot go on; and the swap that hands the slot on tests the Lease as it was
before that write, so it fails if anybody has claimed the slot again since (`View.returned_leases`).

An attempt that has ended stays so, whatever is read in which order: its slot goes to the next one by a single swap.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from lmms_eval_core import names
from lmms_eval_core.kube.lease import Register

# Of an attempt's number: Python does not read one of thousands of digits.
MAX_DIGITS: Final = 9


class Holder(NamedTuple):
    """The attempt that a slot belongs to."""

    name: str
    uid: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.name}/{self.uid}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot as last read or written, and the version of the holder's evaluation that our last swap knew ("" for
    none).
    """

    index: int
    register: Register
    claimed_at: str = ""

    @property
    def holder(self) -> Holder | None:
        """Who has it; None if it is free, or if its content names no attempt (a person's edit)."""
        return parse_holder(self.register.holder)

    def is_held_by(self, uid: str, attempt: int) -> bool:
        """Return whether this attempt has it."""
        holder = self.holder
        return holder is not None and (holder.uid, holder.attempt) == (uid, attempt)


def parse_holder(text: str) -> Holder | None:
    """Parse `name/uid/attempt`; None for any other text."""
    parts = text.split("/")
    if len(parts) != 3 or not parts[2].isdecimal() or len(parts[2]) > MAX_DIGITS:
        return None
    return Holder(parts[0], parts[1], int(parts[2]))


def build_lease_labels(index: int) -> dict[str, str]:
    """Return the labels of a slot's Lease."""
    return {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_SLOT: str(index)}
