"""From rules and compared metrics to a verdict. Pure.

To pass, every critical rule has to be shown to hold, which needs no correction for their number (an intersection-union
test). To fail, one has to be shown broken: the chance that one of many seems so by luck is held by Holm's correction.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from lmms_eval_core.compare.corrections import correct_by_holm
from lmms_eval_core.compare.difference import Difference, Limits
from lmms_eval_core.compare.planning import count_needed
from lmms_eval_core.quality_gate.policy import WILDCARDS, Evidence, GateRule, QualityGate, Tier

# More documents than this nobody has.
MAX_NEEDED: Final = 10**12


class GateVerdict(StrEnum):
    """What a gate says of an evaluation."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


_NOT_PASSED: Final = (GateVerdict.FAILED, GateVerdict.INCONCLUSIVE)


class GateReason(StrEnum):
    """Why, in one word."""

    NOT_WORSE = "NotWorse"
    WORSE = "Worse"
    BELOW_FLOOR = "BelowFloor"
    NOT_ENOUGH_EVIDENCE = "NotEnoughEvidence"
    BASELINE_UNAVAILABLE = "BaselineUnavailable"
    NOT_COMPARABLE = "NotComparable"
    PROMPTS_DIFFER = "PromptsDiffer"
    RESULTS_SUSPECT = "ResultsSuspect"
    NOT_COMPLETED = "NotCompleted"
    NOT_JUDGED = "NotJudged"


class Obstacle(NamedTuple):
    """Why something cannot be judged, and a sentence on it."""

    reason: GateReason
    message: str


class GatedMetric(NamedTuple):
    """A metric of the candidate, in the harness's units, and what is known of it in the baseline.

    `difference` has limits of the gate's confidence, and is in the units of the samples' values, which are `scale`
    times smaller; None where the metric is no mean of them. `obstacle` is why it cannot be compared, `doubt` why the
    candidate's number itself is none.
    """

    task: str
    key: str
    candidate: float | None
    baseline: float | None = None
    is_first: bool = True
    is_group: bool = False
    lower_is_better: bool = False
    difference: Difference | None = None
    scale: float = 1.0
    obstacle: Obstacle | None = None
    doubt: Obstacle | None = None

    @property
    def change(self) -> float | None:
        """Candidate minus baseline, turned so that above 0 is better."""
        if self.candidate is None or self.baseline is None:
            return None
        change = self.candidate - self.baseline
        return -change if self.lower_is_better else change

    @property
    def limits(self) -> Limits | None:
        """The limits of the change."""
        if self.difference is None or self.difference.limits is None:
            return None
        return Limits(*(limit * self.scale for limit in self.difference.limits))


class Judgement(NamedTuple):
    """What a rule says of a metric. `p` is that of "no more is lost than accepted", corrected for critical rules.

    `needed` is how many documents, or clusters, would tell.
    """

    rule: GateRule
    metric: GatedMetric
    verdict: GateVerdict
    reason: GateReason
    message: str
    margin: float | None = None
    p: float | None = None
    needed: int | None = None


class GateResult(NamedTuple):
    """The verdict, why, and what led to it."""

    verdict: GateVerdict
    reason: GateReason
    message: str
    judgements: Sequence[Judgement] = ()


def judge(gate: QualityGate, metrics: Sequence[GatedMetric]) -> GateResult:
    """Return what the gate says of the candidate's metrics."""
    matched = [(rule, metric) for metric in metrics if (rule := find_rule(gate, metric)) is not None]
    alpha = 1.0 - gate.confidence
    judgements = [
        _judge_metric(rule, metric, alpha, p)
        for (rule, metric), p in zip(matched, _list_corrected_p(matched), strict=True)
    ]
    return _conclude(judgements, list(_list_unmatched(gate, metrics)))


def find_rule(gate: QualityGate, metric: GatedMetric) -> GateRule | None:
    """Return the rule that judges a metric: the first that matches it."""
    return next((rule for rule in gate.rules if _matches(rule, metric)), None)


def find_margin(rule: GateRule, metric: GatedMetric) -> float | None:
    """Return the loss that a rule accepts, in the harness's units; None if it accepts any, or none can be told."""
    if rule.max_drop_percent is None:
        return rule.max_drop
    return None if metric.baseline is None else abs(metric.baseline) * rule.max_drop_percent / 100.0


def _matches(rule: GateRule, metric: GatedMetric) -> bool:
    is_pattern = any(sign in rule.task for sign in WILDCARDS)
    # The tasks of a group are judged one by one; the group itself only where somebody names it.
    if metric.task != rule.task and (not is_pattern or metric.is_group or not fnmatchcase(metric.task, rule.task)):
        return False
    if rule.metric is None:
        return metric.is_first
    return fnmatchcase(metric.key if "," in rule.metric else metric.key.partition(",")[0], rule.metric)


def _list_corrected_p(matched: Sequence[tuple[GateRule, GatedMetric]]) -> Iterator[float | None]:
    """Yield the p of each; those of critical rules corrected for their number."""
    raw = [_find_p(rule, metric) for rule, metric in matched]
    counts = [p is not None and rule.tier is Tier.CRITICAL for (rule, _), p in zip(matched, raw, strict=True)]
    corrected = iter(correct_by_holm([p for p, count in zip(raw, counts, strict=True) if count and p is not None]))
    return (next(corrected) if count else p for p, count in zip(raw, counts, strict=True))


def _find_p(rule: GateRule, metric: GatedMetric) -> float | None:
    """Return the p of "no more is lost than accepted"; of "nothing is lost", where that is what is asked."""
    margin = find_margin(rule, metric)
    if margin is None or rule.evidence is Evidence.POINT_ESTIMATE or _find_obstacle(rule, metric) is not None:
        return None
    bound = 0.0 if rule.evidence is Evidence.SIGNIFICANTLY_WORSE else -margin / metric.scale
    return metric.difference.find_p_below(bound) if metric.difference is not None else None


def _find_obstacle(rule: GateRule, metric: GatedMetric) -> Obstacle | None:
    """Return why the metric cannot be compared by a rule with a margin."""
    found = metric.doubt or metric.obstacle
    if found is not None:
        return found
    if metric.change is None:
        return Obstacle(GateReason.NOT_COMPARABLE, "it has no number in both evaluations")
    if rule.evidence is Evidence.POINT_ESTIMATE:
        return None
    if metric.difference is None:
        sentence = "it is no mean of its samples, so that its change has no limits; evidence: PointEstimate needs none"
        return Obstacle(GateReason.NOT_ENOUGH_EVIDENCE, sentence)
    if metric.limits is None or metric.difference.pairs < rule.min_pairs:
        sentence = f"{metric.difference.pairs:,} documents in common are too few (minPairs: {rule.min_pairs:,})"
        return Obstacle(GateReason.NOT_ENOUGH_EVIDENCE, sentence)
    return None


def _judge_metric(rule: GateRule, metric: GatedMetric, alpha: float, p: float | None) -> Judgement:
    obstacle = metric.doubt
    if obstacle is None and metric.candidate is None:
        obstacle = Obstacle(GateReason.NOT_COMPARABLE, "it has no number")
    if obstacle is None and _is_below_floor(rule, metric):
        sentence = f"{metric.candidate:.4g} does not reach the floor of {rule.floor:g}"
        return Judgement(rule, metric, GateVerdict.FAILED, GateReason.BELOW_FLOOR, sentence)
    if obstacle is None and not rule.has_margin:
        sentence = f"{metric.candidate:.4g} reaches the floor of {rule.floor:g}"
        return Judgement(rule, metric, GateVerdict.PASSED, GateReason.NOT_WORSE, sentence)
    obstacle = obstacle or _find_obstacle(rule, metric)
    margin = find_margin(rule, metric)
    if obstacle is not None or margin is None:
        reason, sentence = obstacle or (GateReason.NOT_COMPARABLE, "the baseline has no number")
        return Judgement(rule, metric, GateVerdict.INCONCLUSIVE, reason, sentence, margin)
    if rule.evidence is Evidence.POINT_ESTIMATE:
        return _judge_point(rule, metric, margin)
    return _judge_limits(rule, metric, margin, alpha, p)


def _is_below_floor(rule: GateRule, metric: GatedMetric) -> bool:
    if rule.floor is None or metric.candidate is None:
        return False
    return metric.candidate > rule.floor if metric.lower_is_better else metric.candidate < rule.floor


def _judge_point(rule: GateRule, metric: GatedMetric, margin: float) -> Judgement:
    change = metric.change or 0.0
    sentence = f"changed by {change:+.4g}; {margin:.4g} may be lost, and chance is not considered"
    if change >= -margin:
        return Judgement(rule, metric, GateVerdict.PASSED, GateReason.NOT_WORSE, sentence, margin)
    return Judgement(rule, metric, GateVerdict.FAILED, GateReason.WORSE, sentence, margin)


def _judge_limits(rule: GateRule, metric: GatedMetric, margin: float, alpha: float, p: float | None) -> Judgement:
    limits, difference = metric.limits, metric.difference
    assert limits is not None and difference is not None and difference.estimate is not None
    change = difference.estimate * metric.scale
    sentence = f"changed by {change:+.4g}, from {limits.lower:+.4g} to {limits.upper:+.4g}; {margin:.4g} may be lost"
    is_shown = p is not None and p < alpha
    if rule.evidence is Evidence.SIGNIFICANTLY_WORSE:
        passes, fails = not (is_shown and change < -margin), True
    else:
        passes, fails = limits.lower >= -margin, is_shown
    if passes:
        return Judgement(rule, metric, GateVerdict.PASSED, GateReason.NOT_WORSE, sentence, margin, p)
    if fails:
        return Judgement(rule, metric, GateVerdict.FAILED, GateReason.WORSE, sentence, margin, p)
    needed = _count_needed(metric, difference, margin, alpha)
    if needed is not None:
        sentence += f"; about {needed:,} {'documents' if difference.units == difference.pairs else 'clusters'} may tell"
    return Judgement(
        rule, metric, GateVerdict.INCONCLUSIVE, GateReason.NOT_ENOUGH_EVIDENCE, sentence, margin, p, needed
    )


def _count_needed(metric: GatedMetric, difference: Difference, margin: float, alpha: float) -> int | None:
    if margin <= 0.0:
        return None
    needed = count_needed(difference.deviation, margin / metric.scale, level=1.0 - alpha, reach=difference.reach)
    return min(needed, MAX_NEEDED)


def _list_unmatched(gate: QualityGate, metrics: Sequence[GatedMetric]) -> Iterator[GateRule]:
    for rule in gate.rules:
        if rule.tier is Tier.CRITICAL and not any(_matches(rule, metric) for metric in metrics):
            yield rule


def _conclude(judgements: Sequence[Judgement], unmatched: Sequence[GateRule]) -> GateResult:
    critical = [judgement for judgement in judgements if judgement.rule.tier is Tier.CRITICAL]
    failed, open_ones = ([one for one in critical if one.verdict is verdict] for verdict in _NOT_PASSED)
    if failed:
        return GateResult(GateVerdict.FAILED, failed[0].reason, _describe(failed), judgements)
    if unmatched or not critical:
        sentence = _describe_unmatched(unmatched) if unmatched else "no critical rule has judged anything"
        return GateResult(GateVerdict.INCONCLUSIVE, GateReason.NOT_COMPARABLE, sentence, judgements)
    if open_ones:
        return GateResult(GateVerdict.INCONCLUSIVE, open_ones[0].reason, _describe(open_ones), judgements)
    return GateResult(GateVerdict.PASSED, GateReason.NOT_WORSE, _describe(critical), judgements)


def _describe(judgements: Sequence[Judgement]) -> str:
    """Return the first one as a sentence, and how many more there are."""
    first = judgements[0]
    more = f" ({len(judgements) - 1} more)" if len(judgements) > 1 else ""
    return f"{first.metric.key} of {first.metric.task}: {first.message}{more}"


def _describe_unmatched(rules: Sequence[GateRule]) -> str:
    rule = rules[0]
    metric = f", metric {rule.metric}" if rule.metric else ""
    return f"the evaluation has nothing that the rule for task {rule.task}{metric} matches"
