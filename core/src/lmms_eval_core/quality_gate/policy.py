"""`spec.gate`: what an evaluation must not lose against a baseline, rule by rule."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from lmms_eval_core.schema import ObjectName, ResourceModel, cel, text, validations

MAX_RULES: Final = 32
WILDCARDS: Final = "*?"

TaskPattern = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_*?][A-Za-z0-9_.*?:/+-]*$",
        "give a task, or a pattern with * and ?, for example mmbench*",
        max_length=256,
    ),
]
MetricPattern = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_@*?][A-Za-z0-9_.@*?-]*(,[A-Za-z0-9_.*?-]+)?$",
        "give a metric, or metric,filter; both may have * and ?",
        max_length=256,
    ),
]


class Evidence(StrEnum):
    """What a rule asks for."""

    NOT_WORSE = "NotWorse"
    SIGNIFICANTLY_WORSE = "SignificantlyWorse"
    POINT_ESTIMATE = "PointEstimate"


class Tier(StrEnum):
    """Whether a rule decides."""

    CRITICAL = "Critical"
    ADVISORY = "Advisory"


class GateBaseline(ResourceModel):
    """The evaluation to compare with, of the same namespace."""

    evaluation: ObjectName = Field(description="An LMMEvaluation, by name. Pinned by uid and digest when compared.")


class GateRule(ResourceModel):
    """What the metrics that it matches must keep."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.maxDrop) || has(self.maxDropPercent) || has(self.floor)",
                "give maxDrop, maxDropPercent or floor",
            ),
            cel("!has(self.maxDrop) || !has(self.maxDropPercent)", "give either maxDrop or maxDropPercent"),
            cel(
                "(!has(self.maxDrop) || self.maxDrop >= 0.0)"
                " && (!has(self.maxDropPercent) || self.maxDropPercent >= 0.0)",
                "a drop is a loss, given as a number that is not below 0",
            ),
            cel(
                "self.evidence != 'NotWorse' || (!has(self.maxDrop) || self.maxDrop > 0.0)"
                " && (!has(self.maxDropPercent) || self.maxDropPercent > 0.0)",
                "no number of documents shows that nothing at all is lost; give a loss above 0 that you accept, or "
                "evidence: SignificantlyWorse",
            ),
            cel(
                "self.evidence == 'NotWorse' || has(self.maxDrop) || has(self.maxDropPercent)",
                "evidence is about a loss; give maxDrop or maxDropPercent with it",
            ),
        )
    )

    task: TaskPattern = Field(
        default="*", description="A task or a group by its name, or tasks by a pattern, which matches no group."
    )
    metric: MetricPattern | None = Field(default=None, description="The task's first metric when unset.")
    max_drop: float | None = Field(
        default=None,
        description="Largest accepted loss, in the metric's own units; where lower is better, the largest rise.",
    )
    max_drop_percent: Annotated[float, Field(le=100)] | None = Field(
        default=None, description="The same in percent of the baseline's value."
    )
    floor: float | None = Field(
        default=None, description="What the value itself must reach; where lower is better, must not exceed."
    )
    evidence: Evidence = Field(
        default=Evidence.NOT_WORSE,
        description="NotWorse passes what is shown to lose no more than accepted. SignificantlyWorse fails what is "
        "shown to lose, and loses more than accepted. PointEstimate looks at the two numbers alone.",
    )
    tier: Tier = Field(default=Tier.CRITICAL, description="Advisory is told and decides nothing.")
    min_pairs: Annotated[int, Field(ge=2, le=1_000_000_000)] = Field(
        default=30, description="Fewer documents in common are no evidence."
    )

    @property
    def has_margin(self) -> bool:
        """Whether it compares with the baseline."""
        return self.max_drop is not None or self.max_drop_percent is not None


class QualityGate(ResourceModel):
    """Rules by which an evaluation passes, fails, or is told to be neither. It never fails the evaluation itself."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.baseline) || self.rules.all(rule, !has(rule.maxDrop) && !has(rule.maxDropPercent))",
                "a rule with maxDrop or maxDropPercent needs a baseline",
            ),
            cel(
                "self.rules.exists(rule, rule.tier == 'Critical')",
                "give at least one rule with tier Critical; advisory ones decide nothing",
            ),
        )
    )

    baseline: GateBaseline | None = None
    confidence: Annotated[float, Field(ge=0.8, le=0.999)] = Field(
        default=0.95, description="One-sided, of passing and of failing."
    )
    rules: Annotated[list[GateRule], Field(min_length=1, max_length=MAX_RULES)] = Field(
        description="A metric is judged by the first rule that matches it."
    )
