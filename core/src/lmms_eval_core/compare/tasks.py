"""Compares runs task by task and metric by metric: numbers, differences, findings, and what they amount to. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from lmms_eval_core.compare.columns import Flip, MetricSums, PairCounts
from lmms_eval_core.compare.corrections import correct_by_holm
from lmms_eval_core.compare.difference import Difference
from lmms_eval_core.compare.facts import MetricFact, RunFacts, TaskFacts
from lmms_eval_core.compare.findings import (
    Effect,
    Finding,
    list_metric_findings,
    list_pair_findings,
    list_task_findings,
    refuse,
)
from lmms_eval_core.compare.scale import Reported, decide_scale

# Of the two-sided interval that is shown; each of its limits has a one-sided confidence of 0.975.
CONFIDENCE: Final = 0.95
LEVEL: Final = 1.0 - (1.0 - CONFIDENCE) / 2.0
SIGNIFICANT: Final = 1.0 - CONFIDENCE


class Conclusion(StrEnum):
    """What a comparison shows of the candidate."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"


class MetricComparison(NamedTuple):
    """One metric in both runs, with the harness's own numbers.

    `difference` is None where the metric is no mean of its samples, or cannot be compared; it is in the units of the
    values, which are `scale` times smaller than the harness's. `p_adjusted` is set by `conclude`.
    """

    metric: MetricFact
    baseline: float | None
    candidate: float | None
    is_first: bool
    findings: Sequence[Finding]
    difference: Difference | None = None
    scale: float = 1.0
    flips: Sequence[Flip] = ()
    lost: int = 0
    won: int = 0
    p_adjusted: float | None = None
    conclusion: Conclusion = Conclusion.UNCLEAR

    @property
    def is_conclusive(self) -> bool:
        """Whether nothing speaks against drawing a conclusion."""
        return all(finding.effect is Effect.WARNING for finding in self.findings)


class TaskComparison(NamedTuple):
    """One task in both runs. `pairs` is None where no documents were paired."""

    name: str
    findings: Sequence[Finding]
    metrics: Sequence[MetricComparison]
    pairs: PairCounts | None = None


class TaskEvidence(NamedTuple):
    """What the samples of a task say: counts of its documents by filter, and sums by metric.

    `obstacle` says why no documents were paired, as a sentence.
    """

    pairs: Mapping[str, PairCounts] = {}
    sums: Mapping[str, MetricSums] = {}
    obstacle: str = ""


def compare_task(
    runs: tuple[RunFacts, RunFacts],
    facts: tuple[TaskFacts, TaskFacts],
    evidence: TaskEvidence,
    *,
    run_findings: Sequence[Finding],
    level: float = LEVEL,
) -> TaskComparison:
    """Return the comparison of a task; `run_findings` concern all tasks of the runs.

    `level` is the one-sided confidence of each limit.
    """
    old, new = facts
    findings = list(list_task_findings(runs, facts))
    pairs = next(iter(evidence.pairs.values()), None)
    if pairs is not None:
        findings += list_pair_findings(runs, pairs)
    elif evidence.obstacle:
        findings.append(refuse(evidence.obstacle))
    against = [finding for finding in (*run_findings, *findings) if finding.effect is not Effect.WARNING]
    common = ((metric, found) for metric in old.metrics if (found := new.find_metric(metric.key)) is not None)
    metrics = [
        _compare_metric(runs, pair, evidence, against, is_first=place == 0, level=level)
        for place, pair in enumerate(common)
    ]
    return TaskComparison(old.name, findings, metrics, pairs)


def conclude(comparisons: Sequence[Sequence[TaskComparison]]) -> list[list[TaskComparison]]:
    """Return comparisons with conclusions: those of first metrics by p values that are adjusted for all of these."""
    metrics = [metric for tasks in comparisons for task in tasks for metric in task.metrics]
    adjusted = iter(correct_by_holm([p for p in map(_find_counted_p, metrics) if p is not None]))

    def adjust(metric: MetricComparison) -> MetricComparison:
        return _conclude_metric(metric, next(adjusted) if _find_counted_p(metric) is not None else None)

    return [[task._replace(metrics=list(map(adjust, task.metrics))) for task in tasks] for tasks in comparisons]


def _find_counted_p(metric: MetricComparison) -> float | None:
    """Return the p of a metric among which a false alarm may be; None for others."""
    counts = metric.is_first and metric.is_conclusive
    return metric.difference.p if counts and metric.difference is not None else None


def _conclude_metric(metric: MetricComparison, p_adjusted: float | None) -> MetricComparison:
    found = metric.difference
    p = p_adjusted if p_adjusted is not None else found.p if found is not None else None
    conclusion = Conclusion.UNCLEAR
    if metric.is_conclusive and found is not None and found.estimate and p is not None and p < SIGNIFICANT:
        conclusion = Conclusion.BETTER if found.estimate > 0.0 else Conclusion.WORSE
    return metric._replace(p_adjusted=p_adjusted, conclusion=conclusion)


def _compare_metric(
    runs: tuple[RunFacts, RunFacts],
    metrics: tuple[MetricFact, MetricFact],
    evidence: TaskEvidence,
    against: Iterable[Finding],
    *,
    is_first: bool,
    level: float,
) -> MetricComparison:
    old, new = metrics
    sums, pairs = evidence.sums.get(old.key), evidence.pairs.get(old.filter)
    findings = [*against, *list_metric_findings(runs, metrics, sums, pairs.matched if pairs is not None else 0)]
    made = MetricComparison(old, old.value, new.value, is_first, findings)
    if sums is None or any(finding.effect is Effect.REFUSED for finding in findings):
        return made
    decision = decide_scale(Reported(old.value, sums.baseline), Reported(new.value, sums.candidate))
    if decision.differs:
        return made._replace(
            findings=[*findings, refuse("One of the runs has the metric in percent, the other as a proportion.")]
        )
    if decision.scale is None:
        return made
    return made._replace(
        difference=sums.compare(level=level), scale=decision.scale, flips=sums.flips, lost=sums.lost, won=sums.won
    )
