"""From an evaluation that runs, its Job and its pods to phase, reason and message: one pure function, `derive`.

`plan` calls it for the view and `apply` for what the API server says this moment, so that nothing ends by a stale view.

    its pod has not ended ──▶ Running: why it is where it is (`pod_wait`)
    its pod has ended     ──▶ the end, by exit code and by what happened to the pod
    its pod is gone       ──▶ the end

    its pod is the one that the status names; another one of the attempt never gets past its scheduling gate

    the end of an attempt: published scores ──▶ Completed
                           else cancelled, deleted ──▶ Cancelled
                           else a timer of the user ──▶ Failed
                           else by class: back to Queued for another attempt, or Failed

The class of a failure (`lmms_eval_core.failures`) decides first whether another attempt follows: what would fail again
is never tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lmms_eval_core.failures import BY_EXIT_CODE, BY_REASON, ENDINGS, find_by_exit_code
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.redact import to_one_line
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator.action_failures import compute_backoff
from lmms_eval_operator.objects import TIMERS, AttemptJob, Evaluation, Event, Pod
from lmms_eval_operator.pod_wait import explain_wait

NODE_LOST: Final = frozenset({"DeletionByTaintManager", "DeletionByPodGC", "NodeLost"})
PREEMPTED: Final = frozenset(
    {
        "PreemptionByScheduler",
        "EvictionByEvictionAPI",
        "TerminationByKubelet",
        "Preempting",
        "Preempted",
        "Terminated",
        "NodeShutdown",
    }
)
# What the kubelet says when a pod is evicted for what it wrote itself; all else is the node's distress.
OWN_DISK: Final = ("local ephemeral storage limit", "ephemeral local storage usage", "usage of emptydir volume")
JOB_DELETED: Final = "the Job was deleted while it ran"
POD_DELETED: Final = "the pod was deleted while it ran"
STOPPED: Final = "the operator ended the run, because its slot was not its own any more"
MAX_MESSAGE: Final = 2048
# Ends that the run did not bring about. The other retried ones may be its own doing: a fault of the GPU, an endpoint
# that is away, results that do not arrive.
FROM_OUTSIDE: Final = frozenset(
    {
        Reason.PREEMPTED,
        Reason.NODE_LOST,
        Reason.POD_DELETED,
        Reason.JOB_DELETED,
        Reason.EVICTED,
        Reason.NODE_OUT_OF_MEMORY,
        Reason.INTERRUPTED,
    }
)
# Of one evaluation: what a run has kept is its own word, and its attempts must have an end.
MAX_FREE_ATTEMPTS: Final = 50
# Between two attempts.
LONGEST_WAIT_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What the pod shows of an attempt."""

    node: str = ""
    exit_code: int | None = None
    ended_at: str = ""


@dataclass(frozen=True, slots=True)
class Derived:
    """Phase, reason and message of an evaluation, as they follow from what is known of it."""

    phase: Phase
    reason: Reason
    message: str = ""
    facts: AttemptFacts = field(default_factory=AttemptFacts)
    attempt_reason: Reason | None = None
    """How the attempt ended, where `reason` says that another one follows."""
    attempt_message: str = ""
    """The sentence for the attempt, where that for the evaluation says more."""
    free: bool = False
    """Whether the attempt that ended spends no retry."""

    def __post_init__(self) -> None:
        # Both hold words of users, of what they run and of the cluster, and go into a status that has to take them.
        object.__setattr__(self, "message", to_one_line(self.message, MAX_MESSAGE))
        object.__setattr__(self, "attempt_message", to_one_line(self.attempt_message, MAX_MESSAGE))

    @property
    def has_ended(self) -> bool:
        """Whether the attempt has ended."""
        return self.phase is not Phase.RUNNING


def derive_queued(evaluation: Evaluation) -> Derived:
    """Return where an evaluation is that waits for its turn."""
    if evaluation.hold:
        return Derived(Phase.QUEUED, Reason.ON_HOLD, "set spec.hold to false to let it run")
    if evaluation.next_attempt_at and evaluation.reason == Reason.JOB_REFUSED:
        return Derived(Phase.QUEUED, Reason.JOB_REFUSED, evaluation.message)
    if evaluation.next_attempt_at and evaluation.attempts:
        last = evaluation.attempts[-1]
        message = describe_retry(
            last.get("number", 0),
            last.get("reason", ""),
            last.get("message", ""),
            free=bool(last.get("free")),
            allowed=evaluation.allowed_attempts,
        )
        return Derived(Phase.QUEUED, Reason.RETRYING, message)
    return Derived(Phase.QUEUED, Reason.WAITING_FOR_TURN)


def derive_with_message(evaluation: Evaluation, message: str) -> Derived:
    """Return where the status says that the evaluation is, with another message."""
    reason = Reason(evaluation.reason) if evaluation.reason in set(Reason) else derive_queued(evaluation).reason
    return Derived(evaluation.phase, reason, message)


def is_in_status(evaluation: Evaluation, derived: Derived) -> bool:
    """Return whether the status says so already."""
    same = (evaluation.reason, evaluation.message) == (derived.reason, derived.message)
    same_node = not derived.facts.node or derived.facts.node == evaluation.node
    return same and same_node and not evaluation.unrecorded_resume_facts


def derive(
    evaluation: Evaluation, job: AttemptJob | None, pods: Sequence[Pod], events: Sequence[Event] | None = None
) -> Derived:
    """Return where the current attempt is. `job` is the Job of `evaluation.job_uid`, `pods` are those of the attempt.

    `events` are those of the pod; None as long as they have not had to be read.
    """
    pod = find_own_pod(evaluation, pods)
    if pod is None:
        return _derive_without_pod(evaluation, job)
    return _derive_ended(evaluation, job, pod) if pod.is_terminal else _derive_running(evaluation, pod, events)


def find_own_pod(evaluation: Evaluation, pods: Sequence[Pod]) -> Pod | None:
    """Return the pod that runs the attempt: by uid, and for attempts of earlier releases the one without a gate."""
    if evaluation.pod_uid:
        return next((pod for pod in pods if pod.uid == evaluation.pod_uid), None)
    return max((pod for pod in pods if pod.gate is None), key=lambda pod: not pod.is_terminal, default=None)


def _derive_running(evaluation: Evaluation, pod: Pod, events: Sequence[Event] | None) -> Derived:
    facts = AttemptFacts(node=pod.node)
    wait = explain_wait(evaluation, pod, events)
    if evaluation.is_stopping and wait.reason is not Reason.NODE_UNREACHABLE:
        return _derive_stopping(evaluation, facts)
    return Derived(Phase.RUNNING, wait.reason, wait.message, facts)


def _derive_stopping(evaluation: Evaluation, facts: AttemptFacts) -> Derived:
    until, timer = "waiting for the pod to end", evaluation.stopped_for
    if evaluation.is_unwanted or timer not in TIMERS:
        return Derived(Phase.RUNNING, Reason.CANCELLING, until, facts)
    reason = Reason.STALLED if timer is Reason.STALLED else Reason.CANCELLING
    return Derived(Phase.RUNNING, reason, f"{explain_timeout(evaluation, timer)}: {until}", facts)


def _derive_without_pod(evaluation: Evaluation, job: AttemptJob | None) -> Derived:
    facts = AttemptFacts(node=evaluation.node)
    if evaluation.stopped_for is Reason.INTERRUPTED:
        return _end(evaluation, Reason.INTERRUPTED, STOPPED, facts)
    if job is None:
        return _end(evaluation, Reason.JOB_DELETED, JOB_DELETED, facts)
    return _end(evaluation, Reason.POD_DELETED, POD_DELETED, facts)


def explain_missing_pod(job: AttemptJob) -> str:
    """Return why the next attempt of an evaluation, whose Job is there, has no pod that could start."""
    if job.suspended:
        return (
            "the Job was suspended by somebody else; it goes on when that lifts the suspension, or cancel the "
            "evaluation"
        )
    return "waiting for the Job controller to create the pod"


def find_pod_refusal(events: Sequence[Event]) -> str:
    """Return why the cluster refused the Job controller's last try to create a pod; "" if it did not."""
    return next((event.message for event in reversed(events) if event.reason == "FailedCreate"), "")


def _derive_ended(evaluation: Evaluation, job: AttemptJob | None, pod: Pod) -> Derived:
    evaluator = pod.evaluator
    code = evaluator.exit_code if evaluator else None
    facts = AttemptFacts(pod.node, code, evaluator.ended_at if evaluator else "")
    # A runner that was left alive may have found that another attempt can go on: it then says Interrupted.
    if evaluator is not None and evaluator.ended_as == "OOMKilled" and code != BY_REASON[Reason.INTERRUPTED].exit_code:
        return _end(evaluation, *_explain_memory_kill(pod), facts)
    if code == 0:
        return _end(
            evaluation, Reason.RESULTS_MISSING, "the run ended with exit code 0, but published no scores", facts
        )
    if code in BY_EXIT_CODE and code != BY_REASON[Reason.INTERRUPTED].exit_code:
        return _end_by_runner(evaluation, find_by_exit_code(code).reason, facts)
    reason, message = _explain_disruption(evaluation, job, pod)
    own_fault = reason is Reason.EVICTED and any(words in message.lower() for words in OWN_DISK)
    advice = "; raise spec.resources.ephemeralStorage" if own_fault else ""
    return _end(
        evaluation,
        reason,
        f"{message}{_format_exit_code(code)}{_format_node(pod.node)}{advice}",
        facts,
        own_fault=own_fault,
    )


def _explain_memory_kill(pod: Pod) -> tuple[Reason, str]:
    """Return why the kernel killed it: for a limit of its own, or where it has none because the node was full."""
    if pod.memory_limited:
        return Reason.OUT_OF_MEMORY, "the container was killed by the kernel: out of memory"
    advice = "set spec.resources.memory, so that the scheduler finds a node that has as much"
    return (
        Reason.NODE_OUT_OF_MEMORY,
        f"{BY_REASON[Reason.NODE_OUT_OF_MEMORY].meaning}{_format_node(pod.node)}; {advice}",
    )


def _explain_disruption(evaluation: Evaluation, job: AttemptJob | None, pod: Pod) -> tuple[Reason, str]:
    """Return what happened to a pod whose runner could not report how it ended."""
    disruption = pod.condition("DisruptionTarget")
    causes = {pod.reason, disruption.reason if disruption is not None and disruption.status == "True" else ""}
    message = pod.message or (disruption.message if disruption else "")
    if "Evicted" in causes:
        return Reason.EVICTED, f"the pod was evicted: {message}"
    if causes & NODE_LOST:
        return Reason.NODE_LOST, f"the node was lost: {message}"
    if causes & PREEMPTED:
        return Reason.PREEMPTED, f"the pod was preempted or disrupted: {message}"
    if evaluation.stopped_for is Reason.INTERRUPTED:
        return Reason.INTERRUPTED, STOPPED
    if job is None or job.deleting:
        return Reason.JOB_DELETED, JOB_DELETED
    # With another container in it, it was we who deleted it, when the evaluator had ended.
    if pod.deleting and not (pod.foreign and pod.evaluator and pod.evaluator.has_ended):
        return Reason.POD_DELETED, POD_DELETED
    return Reason.INTERRUPTED, f"the pod failed: {message}" if message else BY_REASON[Reason.INTERRUPTED].meaning


def _end_by_runner(evaluation: Evaluation, reason: Reason, facts: AttemptFacts) -> Derived:
    """Return the end that the runner's exit code reports. Scores beside a failure that is tried again still count."""
    if BY_REASON[reason].retry:
        return _end(evaluation, reason, BY_REASON[reason].meaning, facts)
    if evaluation.is_unwanted:
        return derive_cancelled(evaluation, facts)
    return _fail(evaluation, reason, _find_message(evaluation, reason, BY_REASON[reason].meaning), facts)


def _end(
    evaluation: Evaluation, reason: Reason, message: str, facts: AttemptFacts, *, own_fault: bool = False
) -> Derived:
    """Return the end of an attempt about which the runner reported nothing final."""
    if evaluation.is_published:
        return Derived(Phase.COMPLETED, Reason.SUCCEEDED, "", facts)
    if evaluation.is_unwanted:
        return derive_cancelled(evaluation, facts)
    if evaluation.stopped_for in TIMERS:
        return _fail(evaluation, evaluation.stopped_for, explain_timeout(evaluation, evaluation.stopped_for), facts)
    reason = _find_reported_failure(evaluation) or reason
    message = _find_message(evaluation, reason, message)
    if is_retried(evaluation, reason) and not own_fault:
        return _retry(evaluation, reason, message, facts)
    return _fail(evaluation, reason, message, facts)


def _find_reported_failure(evaluation: Evaluation) -> Reason | None:
    """Return the failure that the reporter reported before something happened to pod or Job, if it would come again."""
    reported = (evaluation.error or {}).get("class") if evaluation.has_report else None
    return next((ending.reason for ending in ENDINGS if ending.reason == reported and not ending.retry), None)


def is_retried(evaluation: Evaluation, reason: Reason) -> bool:
    """Return whether the running attempt, should it end for `reason`, is followed by another."""
    has_retry_left = evaluation.attempt < evaluation.allowed_attempts
    return BY_REASON[reason].retry and (has_retry_left or is_free(evaluation, reason))


def is_free(evaluation: Evaluation, reason: Reason) -> bool:
    """Return whether the running attempt, should it end for `reason`, spends no retry."""
    return reason in FROM_OUTSIDE and evaluation.has_kept_answers and evaluation.free_attempts < MAX_FREE_ATTEMPTS


def compute_next_attempt_at(evaluation: Evaluation, *, free: bool, first_seconds: int, now: datetime) -> str:
    """Return the earliest start of the attempt after the running one: the wait doubles with each retry that is spent,
    as a Job's own back-off. After an attempt that spent none it is the first one.
    """
    times = 1 if free else evaluation.attempt - evaluation.free_attempts
    return format_rfc3339(now + timedelta(seconds=compute_backoff(first_seconds, times, LONGEST_WAIT_SECONDS)))


def describe_retry(number: int, reason: str, message: str, *, free: bool, allowed: int) -> str:
    """Return the message of an evaluation that waits for its next attempt; `allowed`: how many there may be so far."""
    cost = ", which spends no retry as it kept answers" if free else ""
    return f"attempt {number} of {allowed} ended as {reason}{cost}: {message}"


def _retry(evaluation: Evaluation, reason: Reason, message: str, facts: AttemptFacts) -> Derived:
    free = is_free(evaluation, reason)
    allowed = evaluation.allowed_attempts + free
    return Derived(
        Phase.QUEUED,
        Reason.RETRYING,
        describe_retry(evaluation.attempt, reason, message, free=free, allowed=allowed),
        facts,
        attempt_reason=reason,
        attempt_message=message,
        free=free,
    )


def derive_cancelled(evaluation: Evaluation, facts: AttemptFacts | None = None) -> Derived:
    """Return the end of an evaluation that is not wanted any more, started or not."""
    return Derived(
        Phase.CANCELLED, Reason.CANCELLED_BY_USER, _explain_cancellation(evaluation), facts or AttemptFacts()
    )


def _explain_cancellation(evaluation: Evaluation) -> str:
    if not evaluation.cancel:
        return "deleted before it ended"
    return f"cancelled by {evaluation.cancelled_by}" if evaluation.cancelled_by else "cancelled by spec.cancel"


def explain_timeout(evaluation: Evaluation, timer: Reason) -> str:
    """Return the message of an evaluation that one of its user's timers ended."""
    if timer is Reason.STALLED:
        return f"no progress for spec.stallTimeoutSeconds ({evaluation.stall_timeout_seconds})"
    return f"spec.timeoutSeconds ({evaluation.timeout_seconds}) passed since the first start"


def _find_message(evaluation: Evaluation, reason: Reason, default: str) -> str:
    """Return the reporter's message, which names the culprit, if it is about `reason`; else `default`."""
    error = (evaluation.error if evaluation.has_report else None) or {}
    reported = str(error.get("message") or "") if error.get("class") == reason else ""
    return reported or default


def _fail(evaluation: Evaluation, reason: Reason, message: str, facts: AttemptFacts) -> Derived:
    free = f", {evaluation.free_attempts} of which spent no retry" if evaluation.free_attempts else ""
    count = f" (after {evaluation.attempt} attempts{free})" if evaluation.attempt > 1 else ""
    return Derived(Phase.FAILED, reason, message[: MAX_MESSAGE - len(count)] + count, facts, attempt_message=message)


def _format_exit_code(code: int | None) -> str:
    return "" if code is None else f" (exit code {code})"


def _format_node(node: str) -> str:
    return f" on node {node}" if node else ""
