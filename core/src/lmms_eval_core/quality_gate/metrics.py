"""From a candidate's results and its comparison with the baseline to the metrics that a gate judges. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lmms_eval_core.compare.facts import MetricFact, RunFacts, TaskFacts
from lmms_eval_core.compare.findings import TOLERATED, Effect, FindingReason
from lmms_eval_core.compare.tasks import MetricComparison, TaskComparison
from lmms_eval_core.quality_gate.verdict import GatedMetric, GateReason, Obstacle

_REASONS: Final = {
    FindingReason.PROMPTS_DIFFER: GateReason.PROMPTS_DIFFER,
    FindingReason.RESULTS_SUSPECT: GateReason.RESULTS_SUSPECT,
    FindingReason.UNSCORED: GateReason.RESULTS_SUSPECT,
}


def list_gated_metrics(
    candidate: RunFacts, comparisons: Sequence[TaskComparison], *, baseline: str, missing: Obstacle | None = None
) -> Iterator[GatedMetric]:
    """Yield all metrics of the candidate.

    `baseline` is the name of the other evaluation, empty where the gate has none. `missing` is why nothing of it is
    known.
    """
    tasks = {task.name: task for task in comparisons}
    doubt = Obstacle(GateReason.RESULTS_SUSPECT, candidate.suspect) if candidate.suspect else None
    for task in candidate.tasks.values():
        for place, metric in enumerate(task.metrics):
            made = _make_metric(task, metric)._replace(is_first=place == 0, doubt=doubt)
            if missing is not None:
                yield made._replace(obstacle=missing)
            else:
                yield _add_comparison(made, tasks.get(task.name), baseline) if baseline else made


def explain_failures(suspect: Mapping[str, Any] | None) -> str:
    """Return why the scores of a run say nothing, by `status.suspect`; "" if they do.

    Empty answers are wrong answers: a model that collapsed has to fail. Failures of the harness are no answers.
    """
    if not suspect:
        return ""
    samples, failed, swallowed = (suspect.get(name) or 0 for name in ("samples", "failed", "swallowedErrors"))
    if failed + swallowed <= TOLERATED * samples:
        return ""
    return f"of {samples:,} answers {failed:,} are error texts, and {swallowed:,} errors were swallowed"


def _make_metric(task: TaskFacts, metric: MetricFact) -> GatedMetric:
    return GatedMetric(
        task.name, metric.key, metric.value, is_group=task.is_group, lower_is_better=metric.lower_is_better
    )


def _add_comparison(metric: GatedMetric, task: TaskComparison | None, baseline: str) -> GatedMetric:
    found = next((one for one in task.metrics if one.metric.key == metric.key), None) if task is not None else None
    if found is None:
        return metric._replace(obstacle=Obstacle(GateReason.NOT_COMPARABLE, f"{baseline} does not have it"))
    return metric._replace(
        baseline=found.baseline,
        difference=found.difference,
        scale=found.scale,
        obstacle=_find_obstacle(found),
    )


def _find_obstacle(found: MetricComparison) -> Obstacle | None:
    for finding in found.findings:
        if finding.effect is not Effect.WARNING:
            return Obstacle(_REASONS.get(finding.reason, GateReason.NOT_COMPARABLE), finding.message.rstrip("."))
    return None
