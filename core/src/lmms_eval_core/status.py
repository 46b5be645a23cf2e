"""`status` of an LMMEvaluation.

Every field names its owner: the operator's patches and the admission policy follow that.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema, model_serializer

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.schema import Owner, ResourceModel, Timestamp

Text = Annotated[str, Field(max_length=1024)]
# Of an attempt or a slot: what is counted up by one, and read by everybody.
Number = Annotated[int, Field(ge=0, le=1_000_000)]
MAX_STATUS_BYTES = 64 * 1024
MAX_ERROR_BYTES = 8 * 1024
KEPT_ATTEMPTS = 5


# The condition of a completed evaluation whose answers look like failures.
RESULTS_SUSPECT: Final = "ResultsSuspect"
# That of an evaluation with a gate: True, False, or Unknown where the gate is inconclusive.
GATE_PASSED: Final = "GatePassed"


class EvaluationCondition(ResourceModel):
    """As in every Kubernetes object."""

    type: Literal["Complete", "Failed", "ResultsSuspect", "GatePassed"]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=4096)] = ""
    last_transition_time: Timestamp
    observed_generation: int | None = None


class ResumedProgress(ResourceModel):
    """Answers that an attempt has from earlier ones, and did not compute again."""

    answers: int
    from_attempt: Number = Field(description="The last of those attempts.")
    exactness: Literal["exact", "equivalent"] = Field(
        description="exact: each is what an undisturbed run gives, to the last digit; equivalent: two undisturbed runs "
        "differ by themselves, as on GPUs."
    )


class AttemptStatus(ResourceModel):
    """One attempt: its Job, where it ran, and how it ended."""

    number: Number
    job_name: Text
    processes: Number | None = Field(default=None, description="Processes that share its GPUs.")
    node: Text | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    exit_code: int | None = None
    reason: Text | None = None
    message: Annotated[str, Field(max_length=4096)] | None = None
    free: bool | None = Field(
        default=None, description="It kept answers and was ended by the infrastructure: it spent no retry."
    )
    resumed: ResumedProgress | None = None
    started_anew: Text | None = Field(default=None, description="Why answers of earlier attempts did not count.")
    not_kept: Text | None = Field(
        default=None, description="Why no answers were kept from some point on, for another attempt to go on with."
    )


class ProgressStatus(ResourceModel):
    """How far the running attempt is."""

    stage: Text = Field(description="Starting, LoadingModel, Evaluating, Scoring or Publishing.")
    completed: int | None = None
    total: int | None = None
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    rate: float | None = Field(default=None, description="Requests per second.")
    eta_seconds: int | None = None
    text: Text = Field(default="", description="The same in a few characters, for the PROGRESS column.")
    resumed: ResumedProgress | None = None
    started_anew: Text | None = Field(
        default=None, description="Why the answers of earlier attempts were computed again."
    )
    kept: int | None = Field(
        default=None, description="Answers of this attempt that are in the object store, for another one to go on with."
    )
    not_kept: Text | None = Field(
        default=None, description="Why no more answers of this attempt are kept, so that another one computes them."
    )
    updated_at: Timestamp


class Metric(ResourceModel):
    """One metric of one task; `value` is null where lmms-eval computed no number."""

    value: Annotated[float | None, WithJsonSchema({"type": "number", "nullable": True})] = None
    stderr: Annotated[float | None, WithJsonSchema({"type": "number", "nullable": True})] = None

    @model_serializer
    def _with_nulls(self) -> dict[str, float | None]:
        # A score that is not a number is said, not left out.
        return {"value": self.value, "stderr": self.stderr}


class OmittedScores(ResourceModel):
    """Tasks and groups whose scores did not fit into the status; `results.json` in the object store has them all."""

    count: int
    names: Annotated[list[Text], Field(max_length=64)] = Field(default_factory=list, description="The first of them.")


class ArtifactFile(ResourceModel):
    """One stored file."""

    name: Text
    bytes: int
    lines: int | None = None


class Artifacts(ResourceModel):
    """Where the files of the run are."""

    uri: Text = Field(description="s3://bucket/prefix of this attempt.")
    files: Annotated[list[ArtifactFile], Field(max_length=300)] = Field(default_factory=list)
    truncated: bool | None = None


class Usage(ResourceModel):
    """What the evaluation cost, and with which versions its last attempt ran.

    Seconds are of all attempts together, but for those that were lost before they could say. Samples and tokens are of
    the result.
    """

    load_seconds: float | None = Field(default=None, description="Of all attempts together.")
    generation_seconds: float | None = Field(default=None, description="Of all attempts together.")
    total_seconds: float | None = Field(
        default=None, description="Of all attempts together, but for those that were lost before they could say."
    )
    gpu_seconds: float | None = Field(default=None, description="totalSeconds times the number of GPUs.")
    samples: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    versions: Annotated[dict[str, Text], Field(max_length=16)] | None = None
    image: Text | None = None


class SuspectAnswers(ResourceModel):
    """Answers that are failures in disguise."""

    samples: int = Field(description="Answers looked at.")
    empty: int = 0
    failed: int = Field(default=0, description="Answers that are an error marker of the harness.")
    swallowed_errors: int = Field(default=0, description="Generation errors that only the log shows.")


class RunError(ResourceModel):
    """What went wrong, for a person."""

    class_: Text = Field(alias="class", description="The reason word of the failure.")
    message: Annotated[str, Field(max_length=2048)]
    log_tail: Annotated[str, Field(max_length=MAX_ERROR_BYTES)] = Field(
        default="", description="Last lines of the log."
    )


class GateBaselineStatus(ResourceModel):
    """The evaluation that a gate compared with."""

    name: Text
    uid: Text
    attempt: Number
    digest: Text = Field(description="SHA-256 of its results and of the columns that were compared.")


class GatedMetricStatus(ResourceModel):
    """What a rule of the gate says of a metric, in the units of the results file."""

    task: Text
    metric: Text
    verdict: Text
    reason: Text
    tier: Text
    baseline: float | None = None
    value: float | None = None
    change: float | None = Field(default=None, description="Above 0 is better.")
    lower: float | None = Field(default=None, description="Limits of the change.")
    upper: float | None = None
    margin: float | None = Field(default=None, description="What may be lost.")
    documents: int | None = Field(default=None, description="In both evaluations.")
    needed: int | None = Field(default=None, description="Documents, or clusters, that may tell.")


class GateStatus(ResourceModel):
    """What the gate says: Passed, Failed or Inconclusive, and why. gate.json in the object store has it whole."""

    verdict: Annotated[str, WithJsonSchema({"type": "string", "enum": ["Passed", "Failed", "Inconclusive"]})]
    reason: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=2048)] = ""
    confidence: float | None = None
    baseline: GateBaselineStatus | None = None
    metrics: Annotated[list[GatedMetricStatus], Field(max_length=64)] | None = None
    omitted: int | None = Field(default=None, description="Metrics that did not fit.")


def describe_resumed(answers: int, from_attempt: int, exactness: str) -> str:
    """Return that an attempt goes on with answers of earlier ones, for people."""
    return f"goes on after {answers} answer{'' if answers == 1 else 's'} of attempt {from_attempt} ({exactness})"


def describe_started_anew(reason: str) -> str:
    """Return that an attempt computes answers of earlier ones again, for people."""
    return f"answers of earlier attempts do not count: {reason}"


def describe_not_kept(reason: str) -> str:
    """Return that an attempt keeps no more answers for another one, for people."""
    return f"no more answers are kept for another attempt: {reason}"


def name_owners(owner: Owner, *also: Owner) -> dict[str, Any]:
    """`json_schema_extra` that names the owners of a status field."""
    return {"x-owners": [owner.value, *(other.value for other in also)]}


OPERATOR = name_owners(Owner.OPERATOR)
REPORTER = name_owners(Owner.REPORTER)

Scores = dict[str, dict[str, Metric]]


class EvaluationStatus(ResourceModel):
    """What is true of the evaluation. Written by the operator and, for the running attempt, by its reporter."""

    phase: Phase = Field(default=Phase.QUEUED, json_schema_extra=OPERATOR)
    reason: Reason = Field(default=Reason.WAITING_FOR_TURN, json_schema_extra=OPERATOR)
    message: Annotated[str, Field(max_length=4096)] | None = Field(default=None, json_schema_extra=OPERATOR)
    observed_generation: int | None = Field(default=None, json_schema_extra=OPERATOR)
    conditions: Annotated[list[EvaluationCondition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={**OPERATOR, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    attempt: Number | None = Field(
        default=None, description="Number of the last attempt, from 1.", json_schema_extra=OPERATOR
    )
    slot: Number | None = Field(default=None, json_schema_extra=OPERATOR)
    job_name: Text | None = Field(default=None, json_schema_extra=OPERATOR)
    job_uid: Text | None = Field(default=None, alias="jobUID", json_schema_extra=OPERATOR)
    pod_uid: Text | None = Field(
        default=None,
        alias="podUID",
        description="The one pod of this attempt that may get a node.",
        json_schema_extra=OPERATOR,
    )
    stopped_for: Reason | None = Field(
        default=None, description="Why the operator ends the running attempt.", json_schema_extra=OPERATOR
    )
    attempts: Annotated[list[AttemptStatus], Field(max_length=KEPT_ATTEMPTS)] | None = Field(
        default=None, description="The last five.", json_schema_extra=OPERATOR
    )
    free_attempts: Number | None = Field(
        default=None,
        description="Attempts that spent no retry: they kept answers and were ended by the infrastructure.",
        json_schema_extra=OPERATOR,
    )
    next_attempt_at: Timestamp | None = Field(
        default=None, description="While Retrying: the next attempt starts no earlier.", json_schema_extra=OPERATOR
    )
    started_at: Timestamp | None = Field(
        default=None, description="When the first attempt started.", json_schema_extra=OPERATOR
    )
    completed_at: Timestamp | None = Field(default=None, json_schema_extra=OPERATOR)
    cancelled_by: Text | None = Field(default=None, json_schema_extra=OPERATOR)

    reported_attempt: Number | None = Field(
        default=None, description="The attempt that the fields below speak of.", json_schema_extra=REPORTER
    )
    progress: ProgressStatus | None = Field(default=None, json_schema_extra=REPORTER)
    scores: Scores | None = Field(
        default=None, description="task: metric: {value, stderr}.", json_schema_extra={**REPORTER, "maxProperties": 512}
    )
    omitted_scores: OmittedScores | None = Field(
        default=None,
        description="What did not fit into scores, which begins with what spec.tasks names; results.json has it whole.",
        json_schema_extra=REPORTER,
    )
    summary: Text | None = Field(default=None, description="The Score column.", json_schema_extra=REPORTER)
    artifacts: Artifacts | None = Field(default=None, json_schema_extra=REPORTER)
    usage: Usage | None = Field(default=None, json_schema_extra=REPORTER)
    suspect: SuspectAnswers | None = Field(default=None, json_schema_extra=REPORTER)
    error: RunError | None = Field(default=None, json_schema_extra=name_owners(Owner.REPORTER, Owner.OPERATOR))
    gate: GateStatus | None = Field(
        default=None,
        description="What spec.gate says of the results.",
        json_schema_extra=name_owners(Owner.REPORTER, Owner.OPERATOR),
    )
    truncated: bool | None = Field(
        default=None, description="Something did not fit; the object store has it whole.", json_schema_extra=REPORTER
    )
