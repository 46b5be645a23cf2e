"""The one table of failure classes, and of all other ends of an attempt: reason, exit code of the runner, whether to
retry.

Read by the runner (which code to exit with), the operator (what a code means, whether another attempt follows), the
reporter, metrics and events, and by the tests that compare docs/guide.md with it.
"""

from typing import Final, NamedTuple

from lmms_eval_core.phases import Reason


class Ending(NamedTuple):
    """How an attempt can end.

    `exit_code` is None for what only the cluster can tell; `retry`: another attempt can help.
    """

    reason: Reason
    exit_code: int | None
    retry: bool
    meaning: str


ENDINGS: Final = (
    Ending(Reason.SUCCEEDED, 0, False, "the scores of this attempt are published"),
    Ending(Reason.BAD_ARGUMENTS, 64, False, "lmms-eval refused the model, an argument or the adapter"),
    Ending(Reason.TASK_NOT_FOUND, 65, False, "lmms-eval does not know the task"),
    Ending(Reason.MODEL_UNAVAILABLE, 66, False, "the model is missing or broken"),
    Ending(Reason.DATASET_UNAVAILABLE, 67, False, "the data set is missing or broken"),
    Ending(Reason.OUT_OF_MEMORY, 68, False, "the GPU or the container ran out of memory"),
    Ending(Reason.UNREACHABLE, 69, True, "a hub, judge or model endpoint could not be reached"),
    Ending(Reason.EVALUATION_ERROR, 70, False, "the evaluation raised an exception"),
    Ending(Reason.GPU_ERROR, 71, True, "a CUDA or NCCL fault other than memory"),
    Ending(Reason.ALL_ANSWERS_FAILED, 72, False, "every answer was a failure that lmms-eval swallowed"),
    Ending(Reason.PUBLISH_FAILED, 73, True, "the results could not be published in time"),
    Ending(Reason.DISK_FULL, 74, False, "a volume that the evaluation writes to was full"),
    Ending(Reason.INTERRUPTED, 75, True, "the evaluation was stopped by a signal"),
    Ending(Reason.ACCESS_DENIED, 77, False, "a gated or private model or data set: access denied"),
    Ending(Reason.PREEMPTED, None, True, "the pod was preempted or disrupted"),
    Ending(Reason.NODE_LOST, None, True, "the node was lost"),
    Ending(Reason.POD_DELETED, None, True, "the pod was deleted by somebody else"),
    Ending(Reason.JOB_DELETED, None, True, "the Job was deleted by somebody else"),
    Ending(Reason.EVICTED, None, True, "the pod was evicted; no further attempt if it was for its own disk use"),
    Ending(
        Reason.NODE_OUT_OF_MEMORY, None, True, "the node ran out of memory, and the run had reached no limit of its own"
    ),
    Ending(Reason.RESULTS_MISSING, None, True, "the run ended well, but its scores never arrived"),
    Ending(Reason.DEADLINE_EXCEEDED, None, False, "spec.timeoutSeconds passed"),
    Ending(Reason.STALLED, None, False, "no progress for spec.stallTimeoutSeconds"),
    Ending(Reason.INVALID_SPEC, None, False, "the spec cannot be run, and admission could not see it"),
    Ending(Reason.CANCELLED_BY_USER, None, False, "spec.cancel was set"),
)

BY_REASON: Final = {ending.reason: ending for ending in ENDINGS}
BY_EXIT_CODE: Final = {ending.exit_code: ending for ending in ENDINGS if ending.exit_code is not None}


def find_exit_code(reason: Reason) -> int:
    """Return the exit code of the runner for `reason`; KeyError for a reason that only the cluster can tell."""
    code = BY_REASON[reason].exit_code
    if code is None:
        raise KeyError(reason)
    return code


def find_by_exit_code(code: int) -> Ending:
    """Return what an exit code of the evaluator container means; any code outside the table is an interruption.

    128 + n is a death by signal n; the runner itself never exits with another unlisted code.
    """
    return BY_EXIT_CODE.get(code, BY_REASON[Reason.INTERRUPTED])
