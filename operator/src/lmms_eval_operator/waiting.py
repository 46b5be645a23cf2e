"""Why a pod that has not ended is where it is: pod status first, the reporter's stage once the evaluator runs. Pure.

Events are the last resort, for what pod status does not tell: image pulls in progress and volumes that will not mount.
`derive` calls this.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Stage
from lmms_eval_operator.objects import STATE_STARTED, Container, Evaluation, Event, Job, Pod

IMAGE_ERRORS: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
CREATING: Final = frozenset({"ContainerCreating", "PodInitializing", ""})
VOLUME_EVENTS: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
VOLUME_WORDS: Final = ("persistentvolumeclaim", "volume node affinity conflict", "volume(s)")
MAX_MESSAGE: Final = 1024


class Wait(NamedTuple):
    """What is waited for, in a word and a sentence."""

    reason: Reason
    message: str = ""


def waiting(evaluation: Evaluation, pod: Pod, events: Sequence[Event]) -> Wait:
    """Why `pod`, which has not ended, is where it is."""
    if unreachable(pod):
        return Wait(Reason.NODE_UNREACHABLE, f"node {pod.node} does not answer; its slot stays taken until the pod is gone")
    if pod.deleting:
        return Wait(Reason.STARTING if not pod.node else _stage(evaluation), "the pod is being deleted")
    if not pod.node:
        return _unscheduled(pod)
    if pod.evaluator is not None and pod.evaluator.running:
        return Wait(_stage(evaluation))
    if pod.evaluator is not None and pod.evaluator.exit_code is not None:
        return Wait(Reason.PUBLISHING)
    return next(_troubles(pod), None) or _creating(events)


def silent(job: Job | None, pods: Sequence[Pod]) -> str:
    """The uid of the object about which only events can say more: a pod being created, or a Job that gets no pod. Else ""."""
    if pods:
        return next((pod.uid for pod in pods if _in_creation(pod)), "")
    return job.uid if job is not None and job.state == STATE_STARTED and not job.spent else ""


def _in_creation(pod: Pod) -> bool:
    started = pod.evaluator is not None and (pod.evaluator.running or pod.evaluator.exit_code is not None)
    return bool(pod.node) and not pod.terminal and not started and next(_troubles(pod), None) is None


def unreachable(pod: Pod) -> bool:
    """Whether the node's kubelet is silent.

    Of a silent node's pod the control plane sets Ready to False, while ContainersReady, which the kubelet owns, stays True.
    """
    ready, containers = pod.condition("Ready"), pod.condition("ContainersReady")
    silent = ready is not None and ready.status == "False" and containers is not None and containers.status == "True"
    return silent or pod.reason == "NodeLost"


def _stage(evaluation: Evaluation) -> Reason:
    if evaluation.speaks_of_this_attempt and evaluation.stage in set(Stage):
        return Reason(evaluation.stage)
    return Reason.STARTING


def _unscheduled(pod: Pod) -> Wait:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or scheduled.status == "True":
        return Wait(Reason.STARTING)
    about_volumes = any(word in scheduled.message.lower() for word in VOLUME_WORDS)
    return Wait(Reason.VOLUME_PENDING if about_volumes else Reason.UNSCHEDULABLE, scheduled.message[:MAX_MESSAGE])


def _troubles(pod: Pod) -> Iterator[Wait]:
    for name, container in (("reporter", pod.reporter), ("evaluator", pod.evaluator)):
        if container is not None and container.waiting not in CREATING:
            yield _trouble(name, container)


def _trouble(name: str, container: Container) -> Wait:
    if container.waiting in IMAGE_ERRORS:
        # The kubelet says the cause in turns, with and without a back-off notice before it: the cause alone is stable.
        notice, colon, cause = container.message.partition(": ")
        if not (colon and notice.startswith("Back-off")):
            cause = container.message
        cause = cause.removeprefix("ErrImagePull: ") or container.waiting
        return Wait(Reason.IMAGE_PULL_ERROR, f"cannot pull image {container.image}: {cause}"[:MAX_MESSAGE])
    return Wait(Reason.STARTING, f"container {name}: {container.message or container.waiting}"[:MAX_MESSAGE])


def _creating(events: Sequence[Event]) -> Wait:
    last = max(events, key=lambda event: event.at, default=None)
    if last is None:
        return Wait(Reason.STARTING)
    if last.reason == "Pulling":
        return Wait(Reason.PULLING_IMAGE, last.message[:MAX_MESSAGE])
    if last.reason in VOLUME_EVENTS:
        return Wait(Reason.VOLUME_PENDING, last.message[:MAX_MESSAGE])
    return Wait(Reason.STARTING, last.message[:MAX_MESSAGE] if last.reason.startswith("Failed") else "")
