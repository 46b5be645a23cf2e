"""Why a pod that has not ended is where it is: pod status first, the reporter's stage once the evaluator runs. Pure.

Events are the last resort, for what pod status does not tell: image pulls in progress and volumes that will not mount.
`derive` calls this.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Stage
from lmms_eval_operator.objects import ContainerState, Evaluation, Event, Pod

IMAGE_ERRORS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
CREATING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
VOLUME_EVENTS: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
VOLUME_WORDS: Final = ("persistentvolumeclaim", "volume node affinity conflict", "volume(s)")
READINESS_GATE: Final = "ReadinessGatesNotReady"
MAX_MESSAGE: Final = 1024


class Wait(NamedTuple):
    """What is waited for, in a word and a sentence."""

    reason: Reason
    message: str = ""


def explain_wait(evaluation: Evaluation, pod: Pod, events: Sequence[Event] | None) -> Wait:
    """Return why `pod`, which has not ended, is where it is.

    `events` are None as long as they have not had to be read.
    """
    if is_unreachable(pod):
        return Wait(
            Reason.NODE_UNREACHABLE, f"node {pod.node} does not answer; its slot stays taken until the pod is gone"
        )
    if pod.keeping_container:
        message = (
            f"container {pod.keeping_container}, which is not part of the evaluation, keeps the pod alive "
            f"and is being ended"
        )
        return Wait(Reason.PUBLISHING, message)
    if pod.deleting:
        return Wait(Reason.STARTING if not pod.node else _read_stage(evaluation), "the pod is being deleted")
    if pod.gate is not None:
        return Wait(Reason.STARTING)
    if not pod.node:
        return _explain_unscheduled(pod, events)
    if pod.evaluator is not None and pod.evaluator.running:
        return Wait(_read_stage(evaluation))
    if pod.evaluator is not None and pod.evaluator.exit_code is not None:
        return Wait(Reason.PUBLISHING)
    return next(_find_failures(pod), None) or _explain_creating(pod, events)


def find_silent_uid(pod: Pod) -> str:
    """Return the uid of a pod that is being created, about which only events can say more; else ""."""
    started = pod.evaluator is not None and (pod.evaluator.running or pod.evaluator.has_ended)
    unseen = not pod.node and pod.gate is None and pod.condition("PodScheduled") is None
    creating = (
        (bool(pod.node) or unseen) and not pod.is_terminal and not started and next(_find_failures(pod), None) is None
    )
    return pod.uid if creating else ""


def is_unreachable(pod: Pod) -> bool:
    """Return whether the node's kubelet is silent.

    Of a silent node's pod the control plane sets Ready to False, while ContainersReady, which the kubelet owns, stays
    True. So does a kubelet that waits for a readiness gate of somebody else, but it says so.
    """
    ready, containers = pod.condition("Ready"), pod.condition("ContainersReady")
    find_silent_uid = (
        ready is not None and ready.status == "False" and containers is not None and containers.status == "True"
    )
    return (find_silent_uid and ready is not None and ready.reason != READINESS_GATE) or pod.reason == "NodeLost"


def _read_stage(evaluation: Evaluation) -> Reason:
    if evaluation.has_report and evaluation.stage in set(Stage):
        return Reason(evaluation.stage)
    return Reason.STARTING


def _explain_unscheduled(pod: Pod, events: Sequence[Event] | None) -> Wait:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None:
        return Wait(
            Reason.STARTING, "" if events is None else "waiting for the scheduler, which has not looked at the pod yet"
        )
    if scheduled.status == "True":
        return Wait(Reason.STARTING)
    if scheduled.reason == "SchedulingGated":
        return Wait(Reason.STARTING, "waiting for whoever holds the pod by a scheduling gate")
    about_volumes = any(word in scheduled.message.lower() for word in VOLUME_WORDS)
    return Wait(Reason.VOLUME_PENDING if about_volumes else Reason.UNSCHEDULABLE, scheduled.message[:MAX_MESSAGE])


def _find_failures(pod: Pod) -> Iterator[Wait]:
    others = ((entry.name, entry.container) for entry in pod.foreign if not pod.evaluator or not pod.evaluator.running)
    for name, container in (("reporter", pod.reporter), ("evaluator", pod.evaluator), *others):
        if container is not None and container.waiting not in CREATING:
            yield _explain_failure(name, container)


def _explain_failure(name: str, container: ContainerState) -> Wait:
    if container.waiting in IMAGE_ERRORS:
        # The kubelet says the cause in turns, with and without a back-off notice before it: the cause alone is stable.
        notice, colon, cause = container.message.partition(": ")
        if not (colon and notice.startswith("Back-off")):
            cause = container.message
        cause = cause.removeprefix("ErrImagePull: ") or container.waiting
        return Wait(Reason.IMAGE_PULL_ERROR, f"cannot pull image {container.image}: {cause}"[:MAX_MESSAGE])
    return Wait(Reason.STARTING, f"container {name}: {container.message or container.waiting}"[:MAX_MESSAGE])


def _explain_creating(pod: Pod, events: Sequence[Event] | None) -> Wait:
    """Return why a pod on a node has no running containers; "" until its events had to be read, as most start in a
    moment.
    """
    if events is None:
        return Wait(Reason.STARTING)
    if pod.reporter is not None and pod.reporter.running and not pod.reporter.started:
        return Wait(Reason.STARTING, _explain_reporter(events))
    blocking = next((entry.name for entry in pod.foreign if entry.init and entry.container.running), "")
    if blocking:
        return Wait(Reason.STARTING, f"waiting for container {blocking}, which is not part of the evaluation, to end")
    last = max(events, key=lambda event: event.at, default=None)
    if last is None or last.reason not in {"Pulling", *VOLUME_EVENTS} and not last.reason.startswith("Failed"):
        return Wait(Reason.STARTING, f"waiting for node {pod.node} to start the containers" if pod.node else "")
    reasons = {"Pulling": Reason.PULLING_IMAGE, **dict.fromkeys(VOLUME_EVENTS, Reason.VOLUME_PENDING)}
    return Wait(reasons.get(last.reason, Reason.STARTING), last.message[:MAX_MESSAGE])


def _explain_reporter(events: Sequence[Event]) -> str:
    """Return why the reporter is not ready: before the evaluation can be read and the store written."""
    probe = next((event.message for event in reversed(events) if event.reason == "Unhealthy"), "")
    return f"waiting for the reporter, which makes sure that results can be stored{': ' + probe if probe else ''}"[
        :MAX_MESSAGE
    ]
