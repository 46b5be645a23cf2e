"""From an evaluation that runs, its Job and its pods to phase, reason and message: the truth in one pure function.

`plan` asks it about the view and `apply` about what the API server says this moment, so that nothing ends by a stale view.

    its pod has not ended ──▶ Running: why it is where it is (`waiting`)
    its pod has ended     ──▶ the end, by exit code and by what befell the pod
    its pod is gone       ──▶ the end

    its pod is the one that the status names; another one of the attempt never gets past its scheduling gate

    the end of an attempt: published scores ──▶ Completed
                           else cancelled, deleted ──▶ Cancelled
                           else a timer of the user ──▶ Failed
                           else by class: back to Queued for another attempt, or Failed
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lmms_eval_core.failures import BY_EXIT_CODE, BY_REASON, ENDINGS, by_exit_code
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.redact import one_line
from lmms_eval_operator import retry
from lmms_eval_operator.objects import TIMERS, Evaluation, Event, Job, Pod
from lmms_eval_operator.waiting import waiting

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


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pod tells of an attempt."""

    node: str = ""
    exit_code: int | None = None
    ended_at: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is true of an evaluation that was started."""

    phase: Phase
    reason: Reason
    message: str = ""
    facts: Facts = field(default_factory=Facts)
    cause: Reason | None = None
    """How the attempt ended, where `reason` says that another one follows."""
    story: str = ""
    """The sentence for the attempt, where that for the evaluation says more."""

    def __post_init__(self) -> None:
        # Both hold words of users, of what they run and of the cluster, and go into a status that has to take them.
        object.__setattr__(self, "message", one_line(self.message, MAX_MESSAGE))
        object.__setattr__(self, "story", one_line(self.story, MAX_MESSAGE))

    @property
    def over(self) -> bool:
        """Whether the attempt has ended."""
        return self.phase is not Phase.RUNNING


def in_queue(evaluation: Evaluation) -> Verdict:
    """The verdict on an evaluation that waits for its turn."""
    if evaluation.hold:
        return Verdict(Phase.QUEUED, Reason.ON_HOLD, "set spec.hold to false to let it run")
    if evaluation.next_attempt_at and evaluation.reason == Reason.JOB_REFUSED:
        return Verdict(Phase.QUEUED, Reason.JOB_REFUSED, evaluation.message)
    if evaluation.next_attempt_at and evaluation.attempts:
        last = evaluation.attempts[-1]
        told = retry.story(evaluation, last.get("number", 0), last.get("reason", ""), last.get("message", ""))
        return Verdict(Phase.QUEUED, Reason.RETRYING, told)
    return Verdict(Phase.QUEUED, Reason.WAITING_FOR_TURN)


def as_shown(evaluation: Evaluation, message: str) -> Verdict:
    """Where the status says that it is, with another message."""
    reason = Reason(evaluation.reason) if evaluation.reason in set(Reason) else in_queue(evaluation).reason
    return Verdict(evaluation.phase, reason, message)


def shows(evaluation: Evaluation, verdict: Verdict) -> bool:
    """Whether the status says so already."""
    same = (evaluation.reason, evaluation.message) == (verdict.reason, verdict.message)
    return same and (not verdict.facts.node or verdict.facts.node == evaluation.node)


def derive(evaluation: Evaluation, job: Job | None, pods: Sequence[Pod], events: Sequence[Event] | None = None) -> Verdict:
    """The verdict on the current attempt. `job` is the Job of `evaluation.job_uid`, `pods` are those of the attempt.

    `events` are those of the pod; None as long as nobody has had to read them.
    """
    pod = own_pod(evaluation, pods)
    if pod is None:
        return _without_pod(evaluation, job)
    return _ended(evaluation, job, pod) if pod.terminal else _running(evaluation, pod, events)


def own_pod(evaluation: Evaluation, pods: Sequence[Pod]) -> Pod | None:
    """Of the pods of its attempt the one that runs it: by uid, and for attempts of earlier releases the one without a gate."""
    if evaluation.pod_uid:
        return next((pod for pod in pods if pod.uid == evaluation.pod_uid), None)
    return max((pod for pod in pods if pod.gate is None), key=lambda pod: not pod.terminal, default=None)


def _running(evaluation: Evaluation, pod: Pod, events: Sequence[Event] | None) -> Verdict:
    facts = Facts(node=pod.node)
    wait = waiting(evaluation, pod, events)
    if evaluation.stopping and wait.reason is not Reason.NODE_UNREACHABLE:
        return _stopping(evaluation, facts)
    return Verdict(Phase.RUNNING, wait.reason, wait.message, facts)


def _stopping(evaluation: Evaluation, facts: Facts) -> Verdict:
    until, timer = "waiting for the pod to end", evaluation.stopped_for
    if evaluation.unwanted or timer not in TIMERS:
        return Verdict(Phase.RUNNING, Reason.CANCELLING, until, facts)
    reason = Reason.STALLED if timer is Reason.STALLED else Reason.CANCELLING
    return Verdict(Phase.RUNNING, reason, f"{timed_out(evaluation, timer)}: {until}", facts)


def _without_pod(evaluation: Evaluation, job: Job | None) -> Verdict:
    facts = Facts(node=evaluation.node)
    if evaluation.stopped_for is Reason.INTERRUPTED:
        return _end(evaluation, Reason.INTERRUPTED, STOPPED, facts)
    if job is None:
        return _end(evaluation, Reason.JOB_DELETED, JOB_DELETED, facts)
    return _end(evaluation, Reason.POD_DELETED, POD_DELETED, facts)


def no_pod_yet(job: Job) -> str:
    """Why the next attempt of an evaluation, whose Job is there, has no pod that could start."""
    if job.suspended:
        return "the Job was suspended by somebody else; it goes on when that lifts the suspension, or cancel the evaluation"
    return "waiting for the Job controller to create the pod"


def refused_pod(events: Sequence[Event]) -> str:
    """What the cluster said to the Job controller's last try to create a pod; "" if that was not refused."""
    return next((event.message for event in reversed(events) if event.reason == "FailedCreate"), "")


def _ended(evaluation: Evaluation, job: Job | None, pod: Pod) -> Verdict:
    evaluator = pod.evaluator
    code = evaluator.exit_code if evaluator else None
    facts = Facts(pod.node, code, evaluator.ended_at if evaluator else "")
    if evaluator is not None and evaluator.ended_as == "OOMKilled":
        return _end(evaluation, *_out_of_memory(pod), facts)
    if code == 0:
        return _end(evaluation, Reason.RESULTS_MISSING, "the run ended with exit code 0, but published no scores", facts)
    if code in BY_EXIT_CODE and code != BY_REASON[Reason.INTERRUPTED].exit_code:
        return _runners_own(evaluation, by_exit_code(code).reason, facts)
    reason, story = _disrupted(evaluation, job, pod)
    own_fault = reason is Reason.EVICTED and any(words in story.lower() for words in OWN_DISK)
    advice = "; raise spec.resources.ephemeralStorage" if own_fault else ""
    return _end(evaluation, reason, f"{story}{_exit(code)}{_on(pod.node)}{advice}", facts, own_fault=own_fault)


def _out_of_memory(pod: Pod) -> tuple[Reason, str]:
    """The kernel killed it: for a limit of its own, or where it has none for the node's sake."""
    if pod.memory_limited:
        return Reason.OUT_OF_MEMORY, "the container was killed by the kernel: out of memory"
    advice = "set spec.resources.memory, so that the scheduler finds a node that has as much"
    return Reason.NODE_OUT_OF_MEMORY, f"{BY_REASON[Reason.NODE_OUT_OF_MEMORY].meaning}{_on(pod.node)}; {advice}"


def _disrupted(evaluation: Evaluation, job: Job | None, pod: Pod) -> tuple[Reason, str]:
    """What befell a pod whose runner could not say how it ended."""
    disruption = pod.condition("DisruptionTarget")
    causes = {pod.reason, disruption.reason if disruption is not None and disruption.status == "True" else ""}
    told = pod.message or (disruption.message if disruption else "")
    if "Evicted" in causes:
        return Reason.EVICTED, f"the pod was evicted: {told}"
    if causes & NODE_LOST:
        return Reason.NODE_LOST, f"the node was lost: {told}"
    if causes & PREEMPTED:
        return Reason.PREEMPTED, f"the pod was preempted or disrupted: {told}"
    if evaluation.stopped_for is Reason.INTERRUPTED:
        return Reason.INTERRUPTED, STOPPED
    if job is None or job.deleting:
        return Reason.JOB_DELETED, JOB_DELETED
    # With another container in it, it was we who deleted it, when the evaluator had ended.
    if pod.deleting and not (pod.foreign and pod.evaluator and pod.evaluator.ended):
        return Reason.POD_DELETED, POD_DELETED
    return Reason.INTERRUPTED, f"the pod failed: {told}" if told else BY_REASON[Reason.INTERRUPTED].meaning


def _runners_own(evaluation: Evaluation, reason: Reason, facts: Facts) -> Verdict:
    """An exit code by which the runner says how it ended. Scores beside a failure that another attempt may cure still count."""
    if BY_REASON[reason].retry:
        return _end(evaluation, reason, BY_REASON[reason].meaning, facts)
    if evaluation.unwanted:
        return cancelled(evaluation, facts)
    return _failed(evaluation, reason, _told(evaluation, reason, BY_REASON[reason].meaning), facts)


def _end(evaluation: Evaluation, reason: Reason, story: str, facts: Facts, *, own_fault: bool = False) -> Verdict:
    """How an attempt ended about which the runner said nothing final."""
    if evaluation.published:
        return Verdict(Phase.COMPLETED, Reason.SUCCEEDED, "", facts)
    if evaluation.unwanted:
        return cancelled(evaluation, facts)
    if evaluation.stopped_for in TIMERS:
        return _failed(evaluation, evaluation.stopped_for, timed_out(evaluation, evaluation.stopped_for), facts)
    reason = _final_failure(evaluation) or reason
    story = _told(evaluation, reason, story)
    if retry.tried_again(evaluation, reason) and not own_fault:
        return _tried_again(evaluation, reason, story, facts)
    return _failed(evaluation, reason, story, facts)


def _final_failure(evaluation: Evaluation) -> Reason | None:
    """The failure that the reporter told of before something befell pod or Job, if it is one that would come again."""
    said = (evaluation.error or {}).get("class") if evaluation.speaks_of_this_attempt else None
    return next((ending.reason for ending in ENDINGS if ending.reason == said and not ending.retry), None)


def _tried_again(evaluation: Evaluation, reason: Reason, story: str, facts: Facts) -> Verdict:
    message = retry.story(evaluation, evaluation.attempt, reason, story)
    return Verdict(Phase.QUEUED, Reason.RETRYING, message, facts, cause=reason, story=story)


def cancelled(evaluation: Evaluation, facts: Facts | None = None) -> Verdict:
    """The end of an evaluation that is not wanted any more, started or not."""
    return Verdict(Phase.CANCELLED, Reason.CANCELLED_BY_USER, _cancellation(evaluation), facts or Facts())


def _cancellation(evaluation: Evaluation) -> str:
    if not evaluation.cancel:
        return "deleted before it ended"
    return f"cancelled by {evaluation.cancelled_by}" if evaluation.cancelled_by else "cancelled by spec.cancel"


def timed_out(evaluation: Evaluation, timer: Reason) -> str:
    """The sentence for an evaluation that one of its user's timers ended."""
    if timer is Reason.STALLED:
        return f"no progress for spec.stallTimeoutSeconds ({evaluation.stall_timeout_seconds})"
    return f"spec.timeoutSeconds ({evaluation.timeout_seconds}) passed since the first start"


def _told(evaluation: Evaluation, reason: Reason, story: str) -> str:
    """The culprit's name comes from the reporter, who saw the log, unless the end is none of the runner's doing."""
    error = (evaluation.error if evaluation.speaks_of_this_attempt else None) or {}
    said = str(error.get("message") or "") if error.get("class") == reason else ""
    return said or story


def _failed(evaluation: Evaluation, reason: Reason, story: str, facts: Facts) -> Verdict:
    count = f" (after {evaluation.attempt} attempts)" if evaluation.attempt > 1 else ""
    return Verdict(Phase.FAILED, reason, story[: MAX_MESSAGE - len(count)] + count, facts, story=story)


def _exit(code: int | None) -> str:
    return "" if code is None else f" (exit code {code})"


def _on(node: str) -> str:
    return f" on node {node}" if node else ""
