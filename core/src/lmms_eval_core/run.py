"""The run directory: the files by which operator, runner and reporter exchange what concerns one attempt.

The operator puts `RunInput` into the environment of the pod's containers. The runner writes `progress.json`, `log.txt`,
`output/`, `work/`, `journal/`, `media/` and `outcome.json`; the reporter reads them and writes `published` when
everything has arrived, and `earlier/`, the journals of earlier attempts, before the runner starts. A
runner that finds `published` when it starts exits 0 at once, without the harness: an earlier attempt had finished, and
the reporter published that.
"""

import hashlib
import json
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.phases import Reason
from lmms_eval_core.quality_gate.policy import QualityGate
from lmms_eval_core.schema import Scalar

RUN_DIRECTORY: Final = Path("/run/lmms-eval")
RUN_FILE: Final = "run.json"
PROGRESS_FILE: Final = "progress.json"
OUTCOME_FILE: Final = "outcome.json"
PUBLISHED_FILE: Final = "published"
LOG_FILE: Final = "log.txt"
OUTPUT_DIRECTORY: Final = "output"
# Where lmms-eval works: what a task writes under a relative path is below it.
WORK_DIRECTORY: Final = "work"
# What the run has answered so far, and what earlier attempts had (`lmms_eval_core.journal`).
JOURNAL_DIRECTORY: Final = "journal"
EARLIER_DIRECTORY: Final = "earlier"
# What the adapter got of documents, each file named by the SHA-256 of its content (`lmms_eval_core.media`).
MEDIA_DIRECTORY: Final = "media"

# A user's code shares the run directory: no reader takes more than this of a small file.
MAX_JSON_BYTES: Final = 1024 * 1024
# The outcome names the files of samples: so many, of 800 bytes each with their folder, fit.
MAX_OUTCOME_BYTES: Final = 4 * 1024 * 1024
MAX_SAMPLE_FILES: Final = 4000
# Of the files that tasks write themselves, such as submissions to a test server. Runner and reporter take the same
# ones.
MAX_TASK_FILES: Final = 200
MAX_TASK_BYTES: Final = 2 * 1024 * 1024 * 1024
# Parsed by the reporter too, whose memory is small: parsed JSON takes about ten times its text.
MAX_RESULTS_BYTES: Final = 16 * 1024 * 1024


class RunFile(BaseModel):
    """Base of the files: camelCase, readers ignore what they do not know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def to_json(self) -> str:
        """Return the content of the file."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class HarnessArguments(RunFile):
    """Arguments of the harness, lmms-eval; names as in `spec`. An unset one passes no flag."""

    model: str
    model_args: dict[str, Scalar] = Field(default_factory=dict)
    tasks: list[str]
    num_fewshot: int | None = None
    batch_size: int | str | None = None
    limit: float | None = None
    offset: int | None = None
    gen_kwargs: str | None = None
    seed: int | str | None = None
    repeats: int | None = None
    system_instruction: str | None = None
    apply_chat_template: bool | None = None
    fewshot_as_multiturn: bool | None = None
    reasoning_tags: str | None = None
    max_tokens: int | None = None
    force_simple: bool | None = None
    process_with_media: bool | None = None
    log_samples: bool = True
    predict_only: bool = False
    include_path: str | None = None


class ResumePolicy(StrEnum):
    """Whether the answers of an earlier attempt count: never, on the same kind of hardware alone, or on any."""

    NEVER = "never"
    SAME_HARDWARE = "sameHardware"
    ACROSS_HARDWARE = "acrossHardware"


class MediaLimits(RunFile):
    """What is kept of the media of a run, and how much of it.

    A file that the pool has for longer than `fresh_seconds` is written again, so that nobody deletes it as forgotten.
    """

    policy: MediaPolicy = MediaPolicy.NONE
    file_bytes: int = 64 * 1024 * 1024
    run_bytes: int = 512 * 1024 * 1024
    fresh_seconds: int = 302_400


class RunInput(RunFile):
    """What to run, and for which evaluation. `processes` above 1 means data parallel, by `accelerate launch`.

    `trust_remote_code` lets the model run code of its own. `secret_env` names the environment variables whose values
    come from Secrets; the runner hides those values in the log.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    harness: HarnessArguments
    processes: int = 1
    gpus: int = 0
    image: str = ""
    trust_remote_code: bool = False
    secret_env: list[str] = Field(default_factory=list)
    publish_timeout_seconds: int = 3600
    resume: ResumePolicy = ResumePolicy.SAME_HARDWARE
    media: MediaLimits = Field(default_factory=MediaLimits)
    gate: QualityGate | None = None

    def compute_fingerprint(self) -> str:
        """Return the SHA-256 of what the scores depend on: two attempts with the same one compute the same thing."""
        parts = self.model_dump(mode="json", include={"harness", "processes", "gpus", "image"})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class RunRecord(RunInput):
    """`run.json`: the input as the runner got it, and its fingerprint."""

    input_fingerprint: str


class Stage(StrEnum):
    """What the harness is doing; the reason words of a running evaluation."""

    STARTING = "Starting"
    LOADING_MODEL = "LoadingModel"
    EVALUATING = "Evaluating"
    SCORING = "Scoring"
    PUBLISHING = "Publishing"


class ResumedAnswers(RunFile):
    """Answers of earlier attempts that this one did not ask for again.

    `exactness` is `exact` where every answer is what an undisturbed run gives, to the last digit, and `equivalent`
    where two undisturbed runs differ by themselves: on GPUs, and with engines and endpoints.
    """

    answers: int
    from_attempt: int
    exactness: Literal["exact", "equivalent"]


class ProgressReport(RunFile):
    """`progress.json`, replaced atomically. Counts are requests of all tasks together; times are Unix seconds.

    `rate` is without `resumed` answers. `started_anew` says why answers of earlier attempts do not count, and
    `journal_off` why this attempt's are not kept; `journaled` counts those that are.
    """

    stage: Stage = Stage.STARTING
    completed: int | None = None
    total: int | None = None
    rate: float | None = None
    eta_seconds: int | None = None
    resumed: ResumedAnswers | None = None
    started_anew: str = ""
    journaled: int = 0
    journal_off: str = ""
    stage_started_at: float
    updated_at: float


class AnswerCounts(RunFile):
    """Counts of answers, and of those that are failures in disguise."""

    samples: int = 0
    empty: int = 0
    failed: int = 0
    swallowed_errors: int = 0

    @property
    def has_only_failures(self) -> bool:
        """Whether no answer is a real one."""
        return self.samples > 0 and self.empty + self.failed >= self.samples and self.failed + self.swallowed_errors > 0


class Timings(RunFile):
    """Wall-clock seconds."""

    load_seconds: float | None = None
    generation_seconds: float | None = None
    total_seconds: float | None = None


class Outcome(RunFile):
    """`outcome.json`: how the run ended, written once by the runner before it waits for `published`.

    `message` names the culprit in one sentence; `results` and `samples` are paths relative to the run directory.
    """

    reason: Reason
    exit_code: int
    message: str = ""
    harness_exit_code: int | None = None
    results: str | None = None
    samples: dict[str, str] = Field(default_factory=dict)
    answers: AnswerCounts = Field(default_factory=AnswerCounts)
    timings: Timings = Field(default_factory=Timings)
    versions: dict[str, str] = Field(default_factory=dict)


def write_atomically(path: Path, content: str, *, durable: bool = True) -> None:
    """Replace `path`, so that a reader sees the old content or the new, never half of it.

    `durable` waits for the disk; what is replaced every second anyway (progress) can do without.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
        os.fchmod(stream.fileno(), 0o644)
    os.replace(temporary, path)
