"""Records of what clients and faults did to each evaluation, as far as the API server accepted it.

The workload and the fault injector write them from two threads; `verification` reads them after both have ended.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from chaos.planned_evaluations import PlannedEvaluation


class StatusSnapshot(NamedTuple):
    """Phase and attempt of an evaluation at the moment when the API server accepted a change of it."""

    phase: str
    attempt: int


@dataclass
class EvaluationRecord:
    """What was done to one accepted evaluation."""

    evaluation: PlannedEvaluation
    uid: str
    held: StatusSnapshot | None = None
    """Its status when it was put on hold; None while it is not on hold."""
    started_on_hold: bool = False
    cancelled: StatusSnapshot | None = None
    """Its status when it was first cancelled; None if it never was."""
    deleted: bool = False
    fault_hits: int = 0
    """How many faults killed or deleted something that its attempts need."""


class RefusedEvaluation(NamedTuple):
    """An evaluation that admission refused, and the message of the API server."""

    evaluation: PlannedEvaluation
    message: str


@dataclass
class CampaignRecords:
    """All accepted evaluations by name, the refused ones, and how often each client action and fault took place."""

    evaluations: dict[str, EvaluationRecord] = field(default_factory=dict)
    refused: list[RefusedEvaluation] = field(default_factory=list)
    event_counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_evaluation(self, record: EvaluationRecord) -> None:
        """Add an evaluation that was accepted."""
        with self._lock:
            self.evaluations[record.evaluation.name] = record

    def add_refusal(self, refusal: RefusedEvaluation) -> None:
        """Add an evaluation that was refused."""
        with self._lock:
            self.refused.append(refusal)

    def add_fault_hit(self, name: str) -> None:
        """Count a fault that is about to kill or delete something which an attempt of this evaluation needs."""
        with self._lock:
            if name in self.evaluations:
                self.evaluations[name].fault_hits += 1

    def count_event(self, kind: str) -> None:
        """Count a client action or a fault."""
        with self._lock:
            self.event_counts[kind] += 1
