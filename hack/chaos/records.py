"""What was done to each evaluation, as far as the API server accepted it: what the judgement compares the ends with.

Written by the two threads that make the chaos, read when they have ended.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.planned_evaluations import Submission


class Answer(NamedTuple):
    """Where an evaluation was at the moment when the API server accepted a change of it."""

    phase: str
    attempt: int


@dataclass
class Entry:
    """One evaluation."""

    submission: Submission
    uid: str
    held: Answer | None = None
    """While it is on hold: where it was when it was put there."""
    started_on_hold: bool = False
    cancelled: Answer | None = None
    deleted: bool = False
    hits: int = 0
    """How often something that its attempts need was killed or deleted."""


class Refusal(NamedTuple):
    """What admission said to a submission that it did not take."""

    submission: Submission
    sentence: str


@dataclass
class Ledger:
    """All evaluations by name, what was refused, and how often each thing was done."""

    entries: dict[str, Entry] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: Entry) -> None:
        """One more evaluation was accepted."""
        with self._lock:
            self.entries[entry.submission.name] = entry

    def refuse(self, refusal: Refusal) -> None:
        """An evaluation was not accepted."""
        with self._lock:
            self.refused.append(refusal)

    def hit(self, name: str) -> None:
        """Something that an attempt of this evaluation needs is about to be killed."""
        with self._lock:
            if name in self.entries:
                self.entries[name].hits += 1

    def count(self, what: str) -> None:
        """Something was done."""
        with self._lock:
            self.done[what] += 1
