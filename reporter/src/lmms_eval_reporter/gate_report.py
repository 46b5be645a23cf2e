"""From what a gate found to `status.gate`, within its share of the status, and to `gate.json`. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lmms_eval_core.compare.columns import Flip
from lmms_eval_core.quality_gate.policy import QualityGate, Tier
from lmms_eval_core.quality_gate.verdict import GateResult, GateVerdict, Judgement, Obstacle
from lmms_eval_core.status import GateBaselineStatus, GatedMetricStatus, GateStatus
from lmms_eval_reporter import texts

GATE_BYTES: Final = 4 * 1024
MESSAGE_BYTES: Final = 1024
NAME_BYTES: Final = 200
MAX_METRICS: Final = 64
# Those that decide first.
_ORDER: Final = (GateVerdict.FAILED, GateVerdict.INCONCLUSIVE, GateVerdict.PASSED)

# By task and metric: documents that were lost and won.
Flips = Mapping[tuple[str, str], Sequence[Flip]]


def build_gate_status(gate: QualityGate, result: GateResult, baseline: GateBaselineStatus | None) -> GateStatus:
    """Return what the status says of a gate: as many of its metrics as fit, those that decide first."""
    status = GateStatus(
        verdict=result.verdict,
        reason=result.reason,
        message=texts.clean_head(result.message, MESSAGE_BYTES),
        confidence=gate.confidence,
        baseline=baseline,
    )
    room = GATE_BYTES - texts.measure_wire_size(status.to_wire()) - 64
    ordered = sorted(result.judgements, key=lambda one: (one.rule.tier is not Tier.CRITICAL, _ORDER.index(one.verdict)))
    kept: list[GatedMetricStatus] = []
    for judgement in ordered:
        metric = build_metric_status(judgement)
        room -= texts.measure_wire_size(metric.to_wire()) + 1
        if room < 0 or len(kept) == MAX_METRICS:
            break
        kept.append(metric)
    omitted = len(result.judgements) - len(kept)
    return status.model_copy(update={"metrics": kept or None, "omitted": omitted or None})


def build_open_status(gate: QualityGate, obstacle: Obstacle) -> GateStatus:
    """Return the status of a gate that could not be judged at all."""
    return build_gate_status(gate, GateResult(GateVerdict.INCONCLUSIVE, obstacle.reason, obstacle.message), None)


def build_metric_status(judgement: Judgement) -> GatedMetricStatus:
    """Return what a rule says of a metric."""
    metric, limits, difference = judgement.metric, judgement.metric.limits, judgement.metric.difference
    return GatedMetricStatus(
        task=texts.clean_head(metric.task, NAME_BYTES),
        metric=texts.clean_head(metric.key, NAME_BYTES),
        verdict=judgement.verdict,
        reason=judgement.reason,
        tier=judgement.rule.tier,
        baseline=_keep_number(metric.baseline),
        value=_keep_number(metric.candidate),
        change=_keep_number(metric.change),
        lower=_keep_number(limits.lower if limits else None),
        upper=_keep_number(limits.upper if limits else None),
        margin=_keep_number(judgement.margin),
        documents=difference.pairs if difference else None,
        needed=judgement.needed,
    )


def build_gate_file(gate: QualityGate, result: GateResult, baseline: GateBaselineStatus | None, flips: Flips) -> str:
    """Return the content of `gate.json`: the rules, the verdict, and all metrics with documents that changed."""
    return json.dumps(
        {
            "gate": gate.to_wire(),
            "verdict": result.verdict,
            "reason": result.reason,
            "message": texts.clean(result.message),
            "baseline": baseline.to_wire() if baseline else None,
            "metrics": [_describe(judgement, flips) for judgement in result.judgements],
        },
        allow_nan=False,
    )


def _describe(judgement: Judgement, flips: Flips) -> dict[str, Any]:
    metric, difference = judgement.metric, judgement.metric.difference
    return build_metric_status(judgement).to_wire() | {
        "message": texts.clean(judgement.message),
        "rule": judgement.rule.to_wire(),
        "method": difference.method if difference else None,
        "p": _keep_number(judgement.p),
        "flips": [
            {"document": flip.document, "baseline": flip.baseline, "value": flip.candidate}
            for flip in flips.get((metric.task, metric.key), ())
        ],
    }


def _keep_number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
