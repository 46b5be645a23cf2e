"""From an evaluation that runs, its Job and its pods to phase, reason and message: the truth in one pure function.

`plan` asks it about the view and `apply` about what the API server says this moment, so that nothing ends by a stale view.

    any pod not ended ──▶ Running: why it is where it is (`waiting`)
    all pods ended    ──▶ the end, by exit code and by what befell the pod
    no pod            ──▶ Job stopped, spent or gone: the end; else Running: the Job has no pod yet
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lmms_eval_core.failures import BY_EXIT_CODE, BY_REASON, by_exit_code
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_operator.objects import Evaluation, Event, Job, Pod
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
JOB_DELETED: Final = "the Job was deleted while it ran"
POD_DELETED: Final = "the pod was deleted while it ran"
STOPPED: Final = "the operator stopped the Job, because its slot was not its own any more"
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

    @property
    def over(self) -> bool:
        """Whether the attempt has ended."""
        return self.phase in TERMINAL


def in_queue(evaluation: Evaluation) -> Verdict:
    """The verdict on an evaluation that waits for its turn."""
    if evaluation.hold:
        return Verdict(Phase.QUEUED, Reason.ON_HOLD, "set spec.hold to false to let it run")
    return Verdict(Phase.QUEUED, Reason.WAITING_FOR_TURN)


def shows(evaluation: Evaluation, verdict: Verdict) -> bool:
    """Whether the status says so already."""
    same = (evaluation.reason, evaluation.message) == (verdict.reason, verdict.message)
    return same and (not verdict.facts.node or verdict.facts.node == evaluation.node)


def derive(evaluation: Evaluation, job: Job | None, pods: Sequence[Pod], events: Sequence[Event] = ()) -> Verdict:
    """The verdict on the current attempt. `job` is the Job of `evaluation.job_uid`, `pods` are those of the attempt."""
    running = [pod for pod in pods if not pod.terminal]
    if running:
        return _running(evaluation, job, running[-1], events)
    if pods:
        return _ended(evaluation, job, pods[-1])
    return _without_pod(evaluation, job, events)


def _running(evaluation: Evaluation, job: Job | None, pod: Pod, events: Sequence[Event]) -> Verdict:
    facts = Facts(node=pod.node)
    wait = waiting(evaluation, pod, events)
    if wait.reason is Reason.NODE_UNREACHABLE:
        return Verdict(Phase.RUNNING, wait.reason, wait.message, facts)
    if evaluation.unwanted or (job is not None and job.stopped):
        return Verdict(Phase.RUNNING, Reason.CANCELLING, "waiting for the pod to end", facts)
    return Verdict(Phase.RUNNING, wait.reason, wait.message, facts)


def _without_pod(evaluation: Evaluation, job: Job | None, events: Sequence[Event]) -> Verdict:
    facts = Facts(node=evaluation.node)
    if job is None:
        return _end(evaluation, Reason.JOB_DELETED, JOB_DELETED, facts)
    if job.stopped:
        return _end(evaluation, Reason.INTERRUPTED, STOPPED, facts)
    if job.spent:
        return _end(evaluation, Reason.POD_DELETED, POD_DELETED, facts)
    if evaluation.unwanted:
        return Verdict(Phase.RUNNING, Reason.CANCELLING, "waiting for the Job to stop", facts)
    refusal = next((event for event in reversed(events) if event.reason == "FailedCreate"), None)
    return Verdict(Phase.RUNNING, Reason.STARTING, refusal.message[:MAX_MESSAGE] if refusal else "", facts)


def _ended(evaluation: Evaluation, job: Job | None, pod: Pod) -> Verdict:
    evaluator = pod.evaluator
    code = evaluator.exit_code if evaluator else None
    facts = Facts(pod.node, code, evaluator.ended_at if evaluator else "")
    if evaluator is not None and evaluator.ended_as == "OOMKilled":
        return _end(evaluation, Reason.OUT_OF_MEMORY, "the container was killed by the kernel: out of memory", facts)
    if code == 0:
        return _end(evaluation, Reason.RESULTS_MISSING, "the run ended with exit code 0, but published no scores", facts)
    if code in BY_EXIT_CODE and code != BY_REASON[Reason.INTERRUPTED].exit_code:
        return _runners_own(evaluation, by_exit_code(code).reason, facts)
    reason, story = _disrupted(job, pod)
    return _end(evaluation, reason, f"{story}{_exit(code)}{_on(pod.node)}", facts)


def _disrupted(job: Job | None, pod: Pod) -> tuple[Reason, str]:
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
    if job is None or job.deleting:
        return Reason.JOB_DELETED, JOB_DELETED
    if job.stopped:
        return Reason.INTERRUPTED, STOPPED
    if pod.deleting:
        return Reason.POD_DELETED, POD_DELETED
    return Reason.INTERRUPTED, f"the pod failed: {told}" if told else BY_REASON[Reason.INTERRUPTED].meaning


def _runners_own(evaluation: Evaluation, reason: Reason, facts: Facts) -> Verdict:
    """An exit code by which the runner says how it ended. Scores beside a failure that another attempt may cure still count."""
    if BY_REASON[reason].retry:
        return _end(evaluation, reason, BY_REASON[reason].meaning, facts)
    if evaluation.unwanted:
        return _cancelled(evaluation, facts)
    return _failed(evaluation, reason, BY_REASON[reason].meaning, facts)


def _end(evaluation: Evaluation, reason: Reason, story: str, facts: Facts) -> Verdict:
    """How an attempt ended about which the runner said nothing final: published scores win, then the user's cancel."""
    if evaluation.published:
        return Verdict(Phase.COMPLETED, Reason.SUCCEEDED, "", facts)
    if evaluation.unwanted:
        return _cancelled(evaluation, facts)
    return _failed(evaluation, reason, story, facts)


def _cancelled(evaluation: Evaluation, facts: Facts) -> Verdict:
    return Verdict(Phase.CANCELLED, Reason.CANCELLED_BY_USER, cancellation(evaluation), facts)


def cancellation(evaluation: Evaluation) -> str:
    """The sentence for a cancelled evaluation."""
    if not evaluation.cancel:
        return "deleted before it ended"
    return f"cancelled by {evaluation.cancelled_by}" if evaluation.cancelled_by else "cancelled by spec.cancel"


def _failed(evaluation: Evaluation, reason: Reason, story: str, facts: Facts) -> Verdict:
    """The culprit's name comes from the reporter, who saw the log; the pod's story is second best."""
    error = evaluation.error if evaluation.speaks_of_this_attempt else None
    message = str((error or {}).get("message") or "") or story
    return Verdict(Phase.FAILED, reason, message[:MAX_MESSAGE], facts)


def _exit(code: int | None) -> str:
    return "" if code is None else f" (exit code {code})"


def _on(node: str) -> str:
    return f" on node {node}" if node else ""
