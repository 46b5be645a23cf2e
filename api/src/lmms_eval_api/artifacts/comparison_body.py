"""Makes the answer of a comparison, in the worker process: statistics, findings, and the models of the answer. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from lmms_eval_core.compare.difference import Difference
from lmms_eval_core.compare.facts import RunFacts
from lmms_eval_core.compare.findings import Finding, list_run_findings
from lmms_eval_core.compare.planning import count_needed, find_smallest_detectable
from lmms_eval_core.compare.tasks import (
    CONFIDENCE,
    LEVEL,
    MetricComparison,
    TaskComparison,
    TaskEvidence,
    compare_task,
    conclude,
)
from lmms_eval_core.wire_comparison import (
    ChangedDocument,
    ComparedMetric,
    ComparedRun,
    ComparedTask,
    ComparisonFinding,
    DocumentCounts,
    JobComparison,
    RunComparison,
)

# More documents than this nobody has.
MAX_NEEDED: Final = 10**12


class ComparisonOptions(NamedTuple):
    """What is asked beyond the numbers: the documents for a `margin`, in the harness's units, and changed ones."""

    margin: float | None = None
    changed: int = 0


class ComparedJob(NamedTuple):
    """A job, as the answer names it."""

    name: str
    uid: str
    attempt: int
    model: str
    digest: str


class ComparedPair(NamedTuple):
    """Two runs, and what the samples of their common tasks say, by the task's name."""

    baseline: RunFacts
    candidate: RunFacts
    evidence: Mapping[str, TaskEvidence]


def render_comparison(
    jobs: Sequence[ComparedJob],
    pairs: Sequence[ComparedPair],
    reruns: Sequence[ComparedPair],
    options: ComparisonOptions,
) -> bytes:
    """Return a JobComparison as JSON."""
    made = JobComparison(
        runs=[
            ComparedRun(job_id=job.name, uid=job.uid, attempt=job.attempt, model=job.model, digest=job.digest)
            for job in jobs
        ],
        confidence=CONFIDENCE,
        comparisons=list(_compare(pairs, options)),
        reruns=list(_compare(reruns, options)),
    )
    return made.model_dump_json().encode()


def _compare(pairs: Sequence[ComparedPair], options: ComparisonOptions) -> Iterable[RunComparison]:
    """Yield the comparisons; p values are adjusted for all of them together."""
    findings = [list(list_run_findings(pair.baseline, pair.candidate)) for pair in pairs]
    tasks = [_compare_tasks(pair, found) for pair, found in zip(pairs, findings, strict=True)]
    for pair, found, concluded in zip(pairs, findings, conclude(tasks), strict=True):
        old, new = pair.baseline.tasks, pair.candidate.tasks
        yield RunComparison(
            baseline=pair.baseline.name,
            candidate=pair.candidate.name,
            findings=_convert_findings(found),
            tasks=[_convert_task(task, options) for task in concluded],
            only_baseline=[name for name in old if name not in new],
            only_candidate=[name for name in new if name not in old],
        )


def _compare_tasks(pair: ComparedPair, findings: Sequence[Finding]) -> list[TaskComparison]:
    runs, (old, new) = (pair.baseline, pair.candidate), (pair.baseline.tasks, pair.candidate.tasks)
    return [
        compare_task(runs, (old[name], new[name]), pair.evidence.get(name, TaskEvidence()), run_findings=findings)
        for name in old
        if name in new
    ]


def _convert_task(task: TaskComparison, options: ComparisonOptions) -> ComparedTask:
    counts = task.pairs
    documents = counts and DocumentCounts(
        pairs=counts.matched,
        only_baseline=counts.only_baseline,
        only_candidate=counts.only_candidate,
        other_target=counts.other_target,
        other_prompt=counts.other_input,
    )
    metrics = [_convert_metric(metric, options) for metric in task.metrics]
    return ComparedTask(task=task.name, documents=documents, findings=_convert_findings(task.findings), metrics=metrics)


def _convert_metric(metric: MetricComparison, options: ComparisonOptions) -> ComparedMetric:
    made = ComparedMetric(
        metric=metric.metric.name,
        filter=metric.metric.filter,
        first=metric.is_first,
        lower_is_better=metric.metric.lower_is_better,
        baseline=metric.baseline,
        candidate=metric.candidate,
        conclusion=metric.conclusion.value,
        findings=_convert_findings(metric.findings),
    )
    found = metric.difference
    return made if found is None or found.estimate is None else _add_difference(made, metric, found, options)


def _add_difference(
    made: ComparedMetric, metric: MetricComparison, found: Difference, options: ComparisonOptions
) -> ComparedMetric:
    """Return the metric with its difference, in the harness's units."""
    scale, level, reach = metric.scale, LEVEL, found.reach
    changes = {
        "difference": _scale(found.estimate, scale),
        "p": found.p,
        "p_adjusted": metric.p_adjusted,
        "method": found.method.value,
        "pairs": found.pairs,
        "units": found.units,
        "lost": metric.lost,
        "won": metric.won,
        "changed": _list_changed(metric, options.changed),
    }
    if found.limits is not None and found.stderr is not None:
        detectable = find_smallest_detectable(found.stderr, found.units, level=level, reach=reach)
        changes |= {
            "stderr": _scale(found.stderr, scale),
            "lower": _scale(found.limits.lower, scale),
            "upper": _scale(found.limits.upper, scale),
            "detectable": _scale(detectable, scale),
        }
        if options.margin is not None:
            margin = options.margin / scale
            needed = count_needed(found.deviation, margin, level=CONFIDENCE, reach=reach)
            changes["needed"] = needed if needed <= MAX_NEEDED else None
    return made.model_copy(update=changes)


def _list_changed(metric: MetricComparison, count: int) -> list[ChangedDocument]:
    """Return the first documents of each kind: lost ones, then those won."""
    lost = [flip for flip in metric.flips if _is_lost(metric, flip.candidate - flip.baseline)]
    won = [flip for flip in metric.flips if not _is_lost(metric, flip.candidate - flip.baseline)]
    return [
        ChangedDocument(
            doc_id=flip.document if flip.document >= 0 else None,
            baseline_row=flip.baseline_row,
            candidate_row=flip.candidate_row,
            baseline=flip.baseline,
            candidate=flip.candidate,
        )
        for flip in (*lost[:count], *won[:count])
    ]


def _is_lost(metric: MetricComparison, change: float) -> bool:
    return change > 0.0 if metric.metric.lower_is_better else change < 0.0


def _scale(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _convert_findings(findings: Iterable[Finding]) -> list[ComparisonFinding]:
    return [
        ComparisonFinding(effect=finding.effect.value, reason=finding.reason.value, message=finding.message)
        for finding in findings
    ]
