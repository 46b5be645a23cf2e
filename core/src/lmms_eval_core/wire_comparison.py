"""The answer of GET /jobs/{job_id}/compare."""

from typing import Literal

from pydantic import Field

from lmms_eval_core.wire import ResponseModel, SampleCard


class ComparedRun(ResponseModel):
    """A job that is compared."""

    job_id: str
    uid: str
    attempt: int = Field(description="The attempt whose results these are.")
    model: str
    digest: str = Field(description="SHA-256 of its results file.")


class ComparisonFinding(ResponseModel):
    """What speaks against a comparison, or should be known beside it."""

    effect: Literal["refused", "inconclusive", "warning"] = Field(
        description="refused: there is no comparison. inconclusive: there are numbers, and no conclusion."
    )
    reason: str = Field(description="One word.")
    message: str = Field(description="One sentence.")


class DocumentCounts(ResponseModel):
    """The documents of a task, under its first filter."""

    pairs: int = Field(description="In both jobs, with the same target.")
    only_baseline: int = 0
    only_candidate: int = 0
    other_target: int = Field(default=0, description="With another target, and so left out.")
    other_prompt: int = Field(default=0, description="Among the pairs, those with another prompt.")


class ChangedDocument(ResponseModel):
    """A document with other values."""

    doc_id: int | None = Field(description="null if it is no number.")
    baseline_row: int = Field(description="Its row in the samples of the baseline, from 0.")
    candidate_row: int
    baseline: float
    candidate: float


class ComparedMetric(ResponseModel):
    """A metric in both jobs. Numbers are in the harness's units."""

    metric: str
    filter: str
    first: bool = Field(description="Whether it is the first metric of its task.")
    lower_is_better: bool
    baseline: float | None = Field(description="The harness's own number.")
    candidate: float | None
    difference: float | None = Field(
        default=None,
        description="Mean over the pairs, above 0 where the candidate is better. null where the metric is no mean of "
        "its samples' values, or cannot be compared.",
    )
    stderr: float | None = None
    lower: float | None = Field(default=None, description="Of the two-sided interval of `confidence`.")
    upper: float | None = None
    p: float | None = Field(default=None, description="Two-sided, of the hypothesis that nothing changed.")
    p_adjusted: float | None = Field(
        default=None, description="Of a first metric: adjusted for all first metrics in this answer."
    )
    conclusion: Literal["better", "worse", "unclear"] = Field(description="Of the candidate.")
    method: str | None = None
    pairs: int = Field(default=0, description="Documents with a value in both.")
    units: int = Field(default=0, description="The same, or clusters of them.")
    lost: int = Field(default=0, description="Documents whose value became worse.")
    won: int = 0
    detectable: float | None = Field(
        default=None, description="The smallest true difference that is found in four of five such comparisons."
    )
    needed: int | None = Field(
        default=None,
        description="With `margin`: documents, or clusters, to show that no more than that is lost, if nothing is.",
    )
    findings: list[ComparisonFinding] = Field(default_factory=list)
    changed: list[ChangedDocument] = Field(
        default_factory=list, description="With `changed`: the first documents that were lost, then those won."
    )


class ComparedTask(ResponseModel):
    """A task, or a group, that both jobs have."""

    task: str
    documents: DocumentCounts | None = None
    findings: list[ComparisonFinding] = Field(default_factory=list)
    metrics: list[ComparedMetric] = Field(description="Those that both jobs have.")


class RunComparison(ResponseModel):
    """A candidate against a baseline."""

    baseline: str
    candidate: str
    findings: list[ComparisonFinding] = Field(default_factory=list, description="What concerns all tasks.")
    tasks: list[ComparedTask]
    only_baseline: list[str] = Field(default_factory=list, description="Tasks that the candidate lacks.")
    only_candidate: list[str] = Field(default_factory=list)


class JobComparison(ResponseModel):
    """Answer of GET /jobs/{job_id}/compare."""

    runs: list[ComparedRun]
    confidence: float
    comparisons: list[RunComparison]
    reruns: list[RunComparison] = Field(
        default_factory=list,
        description="Pairs among the jobs that ask for exactly the same: what differs there, a rerun changes.",
    )


class ComparedSample(ResponseModel):
    """The cards of a document in both jobs."""

    baseline: SampleCard
    candidate: SampleCard


class FlipCounts(ResponseModel):
    """How many documents changed."""

    lost: int = 0
    won: int = 0
    both_wrong: int = Field(default=0, description="Wrong in both jobs, whether their values differ or not.")


class ComparedSamplePage(ResponseModel):
    """Answer of GET /jobs/{job_id}/compare/{task}."""

    samples: list[ComparedSample]
    metric: str
    filter: str
    counts: FlipCounts
    matched: int = Field(description="Documents that are wanted.")
    place: int = Field(description="How many of them come before these.")
