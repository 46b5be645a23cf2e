"""Phases, reasons, and which phase may follow which (the drawing below). The operator derives them; all parts show
them.

Queued --start--> Running --results published--> Completed
  |  ^               |  '--deterministic failure, or retries used up--> Failed
  |  '----retry------'
  '-----cancel-------'--cancel, pod gone--> Cancelled               terminal phases never change
"""

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Where an evaluation is; the five states of lmms-eval's own server."""

    QUEUED = "Queued"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


TERMINAL: Final = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})

FOLLOWS: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.QUEUED: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    Phase.RUNNING: frozenset({Phase.QUEUED, Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED}),
    Phase.COMPLETED: frozenset(),
    Phase.FAILED: frozenset(),
    Phase.CANCELLED: frozenset(),
}


class Reason(StrEnum):
    """Why an evaluation is where it is: one word, the same in status, conditions, events and HTTP answers."""

    # Queued
    WAITING_FOR_TURN = "WaitingForTurn"
    WAITING_FOR_BASELINE = "WaitingForBaseline"
    ON_HOLD = "OnHold"
    RETRYING = "Retrying"
    JOB_REFUSED = "JobRefused"
    QUEUE_PAUSED = "QueuePaused"
    # Running
    STARTING = "Starting"
    UNSCHEDULABLE = "Unschedulable"
    VOLUME_PENDING = "VolumePending"
    PULLING_IMAGE = "PullingImage"
    IMAGE_PULL_ERROR = "ImagePullError"
    LOADING_MODEL = "LoadingModel"
    EVALUATING = "Evaluating"
    SCORING = "Scoring"
    PUBLISHING = "Publishing"
    STALLED = "Stalled"
    NODE_UNREACHABLE = "NodeUnreachable"
    CANCELLING = "Cancelling"
    # Completed, Cancelled
    SUCCEEDED = "Succeeded"
    CANCELLED_BY_USER = "CancelledByUser"
    # Failed
    BAD_ARGUMENTS = "BadArguments"
    TASK_NOT_FOUND = "TaskNotFound"
    MODEL_UNAVAILABLE = "ModelUnavailable"
    DATASET_UNAVAILABLE = "DatasetUnavailable"
    ACCESS_DENIED = "AccessDenied"
    EVALUATION_ERROR = "EvaluationError"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"
    ALL_ANSWERS_FAILED = "AllAnswersFailed"
    UNREACHABLE = "Unreachable"
    GPU_ERROR = "GPUError"
    INTERRUPTED = "Interrupted"
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    JOB_DELETED = "JobDeleted"
    EVICTED = "Evicted"
    NODE_OUT_OF_MEMORY = "NodeOutOfMemory"
    PUBLISH_FAILED = "PublishFailed"
    RESULTS_MISSING = "ResultsMissing"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    INVALID_SPEC = "InvalidSpec"


def can_follow(before: Phase, after: Phase) -> bool:
    """Return whether `after` may come next; a phase may always stay."""
    return before == after or after in FOLLOWS[before]
