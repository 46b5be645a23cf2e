"""HTTP requests and answers of the front end, in the words of lmms-eval's own server; converters to the resource live
in the api.

Field names, defaults and coercions are upstream's (`lmms_eval/entrypoints/protocol.py`, 0.7.3). What is added is
optional and named as in `spec`, in snake_case. Bounds are the resource's: the API server checks them, for HTTP and
kubectl alike.
"""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lmms_eval_core.media import MediaItem, MediaPolicy
from lmms_eval_core.quality_gate.policy import Evidence, Tier
from lmms_eval_core.run import ResumePolicy
from lmms_eval_core.sample_scoring import SampleFlag
from lmms_eval_core.spec import EvaluationSpec


class JobStatus(StrEnum):
    """States of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RequestPart(BaseModel):
    """A part of a request that upstream does not have: a field that it does not know is refused, not passed over."""

    model_config = ConfigDict(extra="forbid")


class SecretKeyRef(RequestPart):
    """One key of a Secret."""

    name: str
    key: str


class EnvVar(RequestPart):
    """One environment variable: a value, or for a secret where it is."""

    name: str
    value: str | None = None
    secret_key_ref: SecretKeyRef | None = None


class Volume(RequestPart):
    """A PersistentVolumeClaim to mount."""

    claim_name: str
    mount_path: str
    read_only: bool = True


class Resources(RequestPart):
    """Requests and limits of the evaluator: quantities of Kubernetes, as 4 or 16Gi."""

    cpu: int | str | None = None
    memory: int | str | None = None
    shared_memory: int | str | None = None
    ephemeral_storage: int | str | None = None


class Toleration(RequestPart):
    """As in a pod."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class GateBaseline(RequestPart):
    """The job to compare with."""

    evaluation: str


class GateRule(RequestPart):
    """What the metrics that it matches must keep; as in `spec.gate.rules`."""

    task: str = "*"
    metric: str | None = None
    max_drop: float | None = None
    max_drop_percent: float | None = None
    floor: float | None = None
    evidence: Evidence = Evidence.NOT_WORSE
    tier: Tier = Tier.CRITICAL
    min_pairs: int = 30


class Gate(RequestPart):
    """Rules by which a job passes, fails, or is told to be neither."""

    baseline: GateBaseline | None = None
    confidence: float = 0.95
    rules: list[GateRule]


def copy_spec_field(field: str, default: Any = None) -> Any:
    """A field beyond upstream's that the resource has too, with the description from there."""
    described = EvaluationSpec.model_fields[field].description
    return Field(
        default=default, description=f"Beyond upstream: {described}" if described else "Beyond upstream; as in spec."
    )


class EvaluateRequest(BaseModel):
    """Body of POST /evaluate. Unknown fields are kept, so that the answer can name them."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    tasks: list[str]
    model_args: dict[str, Any] | None = None
    num_fewshot: int | None = None
    batch_size: int | str | None = None
    device: str | None = None
    limit: int | float | None = None
    gen_kwargs: str | None = None
    log_samples: bool = True
    predict_only: bool = False
    num_gpus: int = 1
    output_dir: str | None = None

    offset: int | None = copy_spec_field("offset")
    seed: int | str | None = copy_spec_field("seed")
    repeats: int | None = copy_spec_field("repeats")
    system_instruction: str | None = copy_spec_field("system_instruction")
    apply_chat_template: bool | None = copy_spec_field("apply_chat_template")
    fewshot_as_multiturn: bool | None = copy_spec_field("fewshot_as_multiturn")
    reasoning_tags: str | None = copy_spec_field("reasoning_tags")
    max_tokens: int | None = copy_spec_field("max_tokens")
    force_simple: bool | None = copy_spec_field("force_simple")
    process_with_media: bool | None = copy_spec_field("process_with_media")
    include_path: str | None = copy_spec_field("include_path")

    processes: int | None = copy_spec_field("processes")
    resources: Resources | None = copy_spec_field("resources")
    volumes: list[Volume] | None = copy_spec_field("volumes")
    node_selector: dict[str, str] | None = copy_spec_field("node_selector")
    tolerations: list[Toleration] | None = copy_spec_field("tolerations")
    priority_class_name: str | None = copy_spec_field("priority_class_name")
    runtime_class_name: str | None = copy_spec_field("runtime_class_name")
    env: list[EnvVar] | None = copy_spec_field("env")
    image: str | None = copy_spec_field("image")

    priority: int = copy_spec_field("priority", 0)
    hold: bool = copy_spec_field("hold", False)
    ttl_seconds_after_finished: int | None = copy_spec_field("ttl_seconds_after_finished")
    gate: Gate | None = copy_spec_field("gate")
    keep: bool = copy_spec_field("keep", False)
    retries: int | None = copy_spec_field("retries")
    resume: ResumePolicy | None = copy_spec_field("resume")
    media: MediaPolicy | None = copy_spec_field("media")
    timeout_seconds: int | None = copy_spec_field("timeout_seconds")
    stall_timeout_seconds: int | None = copy_spec_field("stall_timeout_seconds")
    trust_remote_code: bool = copy_spec_field("trust_remote_code", False)

    name: str | None = Field(
        default=None, description="Beyond upstream: the job's id, a DNS label; one is made when unset."
    )
    labels: dict[str, str] | None = Field(
        default=None, description="Beyond upstream: labels of the job, to find it by."
    )


class ResponseModel(BaseModel):
    """An answer in which every key always stands, whatever its value: the OpenAPI document promises them all."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class JobSubmitResponse(ResponseModel):
    """Answer of POST /evaluate."""

    job_id: str
    status: JobStatus = JobStatus.QUEUED
    position_in_queue: int
    message: str = ""
    warnings: list[str] = Field(default_factory=list)


class JobPatch(RequestPart):
    """Body of PATCH /jobs/{job_id}: what may change of a stored job. What is left out stays as it is."""

    priority: int | None = Field(default=None, description="Higher starts first.")
    hold: bool | None = Field(default=None, description="Keeps it queued.")
    ttl_seconds_after_finished: int | None = Field(default=None, description="null: not deleted for its age any more.")
    keep: bool | None = Field(default=None, description="Keeps it until somebody deletes it.")


class Resumed(BaseModel):
    """Answers that an attempt has from earlier ones, and did not compute again."""

    model_config = ConfigDict(extra="allow")

    answers: int
    from_attempt: int = Field(description="The last of those attempts.")
    exactness: str = Field(
        description="exact: each is what an undisturbed run gives, to the last digit; equivalent: two undisturbed runs "
        "differ by themselves, as on GPUs."
    )


class Progress(BaseModel):
    """How far the running attempt is."""

    model_config = ConfigDict(extra="allow")

    stage: str | None = None
    completed: int | None = None
    total: int | None = None
    percent: int | None = None
    rate: float | None = Field(default=None, description="Requests per second.")
    eta_seconds: int | None = None
    text: str | None = Field(default=None, description="The same in a few characters.")
    resumed: Resumed | None = None
    started_anew: str | None = Field(
        default=None, description="Why the answers of earlier attempts were computed again."
    )
    kept: int | None = Field(
        default=None, description="Answers of this attempt that are stored, for another one to go on with."
    )
    not_kept: str | None = Field(
        default=None, description="Why no more answers of this attempt are kept, so that another one computes them."
    )
    updated_at: str | None = None


class Attempt(BaseModel):
    """One attempt: where it ran, and how it ended."""

    model_config = ConfigDict(extra="allow")

    number: int
    job_name: str | None = None
    processes: int | None = Field(default=None, description="Processes that shared its GPUs.")
    node: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    message: str | None = None
    free: bool | None = Field(default=None, description="True where it spent none of the job's retries.")
    resumed: Resumed | None = None
    started_anew: str | None = Field(default=None, description="Why answers of earlier attempts did not count.")
    not_kept: str | None = Field(
        default=None, description="Why no answers were kept from some point on, for another attempt to go on with."
    )


class Suspect(BaseModel):
    """Of a completed job, how many of its answers are failures in disguise."""

    model_config = ConfigDict(extra="allow")

    samples: int = Field(description="Answers looked at.")
    empty: int = 0
    failed: int = Field(default=0, description="Answers that are an error marker of the harness.")
    swallowed_errors: int = Field(default=0, description="Generation errors that only the log shows.")


class Links(BaseModel):
    """Absolute URLs, as the caller sees this front end."""

    self: str
    events: str
    logs: str
    results: str | None = None
    samples: dict[str, str] = Field(default_factory=dict, description="One for each task with samples.")
    explore: dict[str, str] = Field(
        default_factory=dict, description="The same tasks: samples to filter, search and sort, if they are indexed."
    )
    files: str | None = Field(default=None, description="Where tasks wrote files of their own.")


class GatedMetric(BaseModel):
    """What a rule of a gate says of a metric, in the units of the results file."""

    model_config = ConfigDict(extra="allow")

    task: str
    metric: str
    verdict: str
    reason: str
    tier: str
    baseline: float | None = None
    value: float | None = None
    change: float | None = Field(default=None, description="Above 0 is better.")
    lower: float | None = Field(default=None, description="Limits of the change.")
    upper: float | None = None
    margin: float | None = Field(default=None, description="What may be lost.")
    documents: int | None = Field(default=None, description="In both jobs.")
    needed: int | None = Field(default=None, description="Documents, or clusters, that may tell.")


class GatePin(BaseModel):
    """The job that was compared with, as it was then."""

    model_config = ConfigDict(extra="allow")

    name: str
    uid: str
    attempt: int
    digest: str = Field(description="SHA-256 of its results and of the columns that were compared.")


class JobGate(BaseModel):
    """Answer of GET /jobs/{job_id}/gate. `verdict` is null until the job has ended."""

    job_id: str
    verdict: str | None = Field(default=None, description="Passed, Failed or Inconclusive.")
    reason: str | None = Field(default=None, description="One word, as in the condition GatePassed.")
    message: str = ""
    confidence: float | None = None
    baseline: GatePin | None = None
    metrics: list[GatedMetric] = Field(default_factory=list)
    omitted: int = Field(default=0, description="Metrics that did not fit; gate.json has them.")


class JobFile(BaseModel):
    """A file that a task wrote itself."""

    path: str = Field(description="Below output/ or work/, as the task gave it; odd characters are _.")
    stored_bytes: int = Field(description="Compressed.")
    url: str


class JobFiles(BaseModel):
    """Answer of GET /jobs/{job_id}/files."""

    files: list[JobFile]
    truncated: bool = Field(description="Whether something that the run left was too much to be stored.")


class JobInfo(ResponseModel):
    """Answer of GET /jobs/{job_id}; all keys always present."""

    job_id: str
    status: JobStatus
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    request: dict[str, Any]
    result: dict[str, Any] | None = None
    error: str | None = None
    position_in_queue: int | None = None
    reason: str | None = Field(default=None, description="Beyond upstream: one word, as in kubectl get.")
    message: str | None = Field(default=None, description="Beyond upstream: one sentence.")
    priority: int = Field(default=0, description="Beyond upstream: as it is now.")
    hold: bool = Field(default=False, description="Beyond upstream: as it is now.")
    ttl_seconds_after_finished: int | None = Field(default=None, description="Beyond upstream: as it is now.")
    keep: bool = Field(default=False, description="Beyond upstream: as it is now.")
    labels: dict[str, str] = Field(default_factory=dict, description="Beyond upstream: labels of the job.")
    progress: Progress | None = Field(default=None, description="Beyond upstream: how far it is.")
    attempt: int | None = Field(default=None, description="Beyond upstream: number of the last attempt, from 1.")
    attempts: list[Attempt] = Field(default_factory=list, description="Beyond upstream: the last attempts.")
    scores: dict[str, Any] | None = Field(default=None, description="Beyond upstream: task: metric: {value, stderr}.")
    summary: str | None = Field(default=None, description="Beyond upstream: the scores in one short line.")
    usage: dict[str, Any] | None = Field(default=None, description="Beyond upstream: seconds, tokens, versions.")
    suspect: Suspect | None = Field(
        default=None,
        description="Beyond upstream: counts, where `warnings` says that the scores are doubtful; else null.",
    )
    links: Links | None = Field(default=None, description="Beyond upstream: where the rest is.")
    output: dict[str, Any] | None = Field(default=None, description="Beyond upstream: the results file of lmms-eval.")
    samples: dict[str, list[Any]] | None = Field(default=None, description="Beyond upstream: with include=samples.")
    warnings: list[str] = Field(
        default_factory=list, description="Beyond upstream: what is doubtful or missing, and why."
    )


class MainScore(BaseModel):
    """The one score that stands for a job in a list; all others are in `scores` of GET /jobs/{job_id}."""

    task: str
    metric: str
    value: float | None
    stderr: float | None = None


class JobSummary(BaseModel):
    """One job in the answer of GET /jobs."""

    job_id: str
    status: JobStatus
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    model: str
    tasks: list[str]
    priority: int = 0
    hold: bool = False
    position_in_queue: int | None = None
    reason: str | None = None
    message: str | None = None
    progress: Progress | None = None
    summary: str | None = Field(default=None, description="The scores in one short line.")
    score: MainScore | None = Field(default=None, description="The first of them, with its error.")
    suspect: bool = Field(default=False, description="Whether the scores are doubtful; the job's `warnings` say why.")
    labels: dict[str, str] = Field(default_factory=dict)


class JobList(BaseModel):
    """Answer of GET /jobs, newest first; `next_cursor` is null on the last page."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


class AnswerTokens(BaseModel):
    """Tokens of one answer, as far as the model adapter counts them."""

    input: int | None = None
    output: int | None = None
    reasoning: int | None = None


class LiveAnswer(ResponseModel):
    """One answer of a job that has no samples yet, or never will: nobody has scored it."""

    task: str
    document: int | str | None = Field(default=None, description="Its `doc_id`.")
    prompt: str | None = Field(default=None, description="The first 4,000 characters.")
    answer: Any = Field(
        default=None, description="A text; for tasks that compare likelihoods, what the model adapter returned."
    )
    target: str | None = Field(default=None, description="What is right, where the task says so in advance.")
    tokens: AnswerTokens | None = None
    time: str | None = Field(default=None, description="When it, and those asked with it, had been answered.")
    attempt: int
    media: list[MediaItem] = Field(default_factory=list, description="What the model adapter got beside the prompt.")
    media_more: int = Field(default=0, description="Media that are not listed.")
    truncated: bool = Field(default=False, description="Whether it is longer than what is shown.")
    scored: Literal[False] = False


class SamplePage(BaseModel):
    """Answer of GET /jobs/{job_id}/samples/{task}; `next_cursor` is null on the last page."""

    samples: list[Any] = Field(description="As lmms-eval wrote them; with `partial`, a LiveAnswer each.")
    next_cursor: str | None = None
    partial: bool | None = Field(
        default=None, description="true: answers of a job that runs, or that ended without samples; nothing is scored."
    )
    end_cursor: str | None = Field(
        default=None, description="With `partial`: where the page ends, for what is answered later."
    )
    unjudged: int | None = Field(
        default=None, description="With filter=wrong: samples passed over, as no metric has a number."
    )


class SampleCard(ResponseModel):
    """What a list shows of a sample; texts are cut to 160 characters."""

    row: int = Field(description="Its place in the file of samples, from 0.")
    doc_id: int | str | None = None
    filter: str | None = Field(
        default=None, description="The filter of the answer, where the task has several: a line for each."
    )
    flags: list[SampleFlag] = Field(default_factory=list)
    prompt: str = ""
    target: str = ""
    answer: str = Field(default="", description="What was scored.")
    length: int = Field(default=0, description="Characters of the answer.")
    tokens: int | None = Field(default=None, description="Tokens of the answer, if the model adapter counts them.")
    metrics: dict[str, float | None] = Field(default_factory=dict)
    media: list[MediaItem] = Field(default_factory=list, description="What the model adapter got beside the prompt.")
    media_more: int = Field(default=0, description="Media that are not listed.")


class SampleCounts(ResponseModel):
    """How many samples have each flag; `truncated` is null where the task names no limit."""

    wrong: int = 0
    right: int = 0
    empty: int = 0
    failed: int = 0
    truncated: int | None = None
    unjudged: int = Field(default=0, description="Neither wrong nor right: no metric has a number.")


class SampleCardPage(ResponseModel):
    """Answer of GET /jobs/{job_id}/explore/{task}; `next_cursor` is null on the last page."""

    cards: list[SampleCard]
    total: int = Field(description="Samples of the task.")
    matched: int | None = Field(
        default=None, description="Those that the filter and the conditions want; null with `q`, which counts none."
    )
    scanned: int = Field(description="With `q`, how many of the samples were searched so far; else the total.")
    place: int | None = Field(
        default=None, description="How many cards come before these in this list; null where nobody has counted."
    )
    next_cursor: str | None = None
    counts: SampleCounts
    metrics: list[str] = Field(description="The metrics that conditions and sort may name.")


class SampleDetail(ResponseModel):
    """Answer of GET /jobs/{job_id}/samples/{task}/{doc_id}."""

    card: SampleCard
    sample: Any = Field(description="As lmms-eval wrote it.")


class QueueStatusResponse(ResponseModel):
    """Answer of GET /queue."""

    queue_size: int
    running_job: str | None = None
    queued_jobs: list[str] = Field(default_factory=list)
    completed_jobs: int = 0
    failed_jobs: int = 0


class HealthResponse(ResponseModel):
    """Answer of GET /health."""

    status: str = "healthy"
    timestamp: str
    queue_size: int


class Rights(BaseModel):
    """What a caller may do to evaluations."""

    read: bool = Field(description="List all of them.")
    submit: bool
    change: bool = Field(description="Cancel, hold and reorder all of them.")


class Me(BaseModel):
    """Answer of GET /me."""

    name: str
    authentication: Literal["token", "session", "proxy", "none"] = Field(description="How the caller was recognised.")
    session_expires_at: str | None = None
    rights: Rights
    cancels_running: bool = Field(description="Whether a job that runs can be cancelled.")
    version: str = Field(description="Of the front end.")


class CancelResponse(BaseModel):
    """Answer of DELETE /jobs/{job_id}."""

    message: str


class ListedTask(BaseModel):
    """A task, group or tag in the answer of GET /tasks?details=true; what its file does not say is null or empty."""

    name: str
    kind: Literal["task", "group", "tag"]
    members: list[str] = Field(default_factory=list, description="Of a group or tag: tasks, and groups.")
    dataset: str | None = None
    output_type: str | None = None
    metrics: list[str] = Field(default_factory=list)


class TaskList(BaseModel):
    """Answer of GET /tasks."""

    tasks: list[str] | list[ListedTask]
    error: str | None = Field(default=None, description="Why there is no list.")
    versions: dict[str, str] | None = Field(
        default=None, description="Beyond upstream, with details: of the image's packages."
    )


class ListedModel(BaseModel):
    """A model in the answer of GET /models?details=true."""

    name: str
    aliases: list[str] = Field(default_factory=list)
    available: bool = True
    reason: str | None = Field(default=None, description="Why the evaluator image cannot use it.")
    needs_remote_code: bool = Field(default=False, description="Asks by itself for code that its checkpoint brings.")


class ModelList(BaseModel):
    """Answer of GET /models."""

    models: list[str] | list[ListedModel]
    error: str | None = Field(default=None, description="Why there is no list.")
    unavailable: dict[str, str] = Field(
        default_factory=dict, description="Beyond upstream: which the image cannot use, and why."
    )
    needs_remote_code: list[str] = Field(
        default_factory=list,
        description="Beyond upstream: which ask by themselves for code that a checkpoint brings; that needs "
        "trust_remote_code.",
    )
    versions: dict[str, str] | None = Field(
        default=None, description="Beyond upstream, with details: of the image's packages."
    )
