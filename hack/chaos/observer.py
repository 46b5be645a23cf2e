"""Observation of evaluations and their pods through watches, kept after the objects themselves are gone.

Two watches list again whenever the API server comes back. Of pods, the observer uses what the kubelet reports about
containers; of evaluations, the status that any client can read.
"""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from deployment import Deployment

from lmms_eval_core import names

Object = dict[str, Any]
EventHandler = Callable[[str, Object], None]
RESTART_SECONDS = 0.2
CONTAINER_STATUSES = ("initContainerStatuses", "containerStatuses")


class EvaluationState(NamedTuple):
    """Phase, reason and attempt of an evaluation at one moment, and how many attempts had spent no retry."""

    phase: str
    reason: str
    attempt: int
    free_attempts: int = 0


class PodRun(NamedTuple):
    """A pod as the kubelet reported it: from its start time to the end of its last container, in whole seconds.

    `end` is empty if no watch saw it.
    """

    evaluation: str
    evaluation_uid: str
    attempt: int
    pod: str
    start: str
    end: str = ""
    evaluator_started: bool = False


class BoundPod(NamedTuple):
    """A pod that was assigned to a node, whether it has run or not."""

    evaluation_uid: str
    attempt: int
    pod: str


class ClusterObserver:
    """Follows all evaluations and their pods from its construction until `stop`.

    `histories` has the states of each evaluation by its uid, `pod_runs` the latest report on each pod by the pod's uid.
    """

    def __init__(self, release: Deployment) -> None:
        self.histories: dict[str, list[EvaluationState]] = {}
        self.pod_runs: dict[str, PodRun] = {}
        self.bound_pods: set[BoundPod] = set()
        self._watches = [
            KubectlWatch(release, names.PLURAL, self._handle_evaluation),
            KubectlWatch(release, "pods", self._handle_pod, selector=names.LABEL_EVALUATION),
        ]

    def stop(self) -> None:
        """End the watches."""
        for watch in self._watches:
            watch.stop()

    def _handle_evaluation(self, event: str, item: Object) -> None:
        status = item.get("status", {})
        state = EvaluationState(
            status.get("phase", ""), status.get("reason", ""), status.get("attempt", 0), status.get("freeAttempts", 0)
        )
        history = self.histories.setdefault(item["metadata"]["uid"], [])
        if history[-1:] != [state]:
            history.append(state)

    def _handle_pod(self, event: str, item: Object) -> None:
        if run := read_pod_run(item, self.pod_runs.get(item["metadata"]["uid"])):
            self.pod_runs[item["metadata"]["uid"]] = run
        if bound := read_bound_pod(item):
            self.bound_pods.add(bound)


def read_pod_run(pod: Object, previous: PodRun | None) -> PodRun | None:
    """Return what is known of a pod's run so far; None before the kubelet has set its start time."""
    metadata, status = pod["metadata"], pod.get("status", {})
    states = [container["state"] for key in CONTAINER_STATUSES for container in status.get(key, ())]
    ends = [state.get("terminated", {}).get("finishedAt") for state in states]
    started = any("waiting" not in container["state"] for container in status.get("containerStatuses", ()))
    if not status.get("startTime"):
        return None
    return PodRun(
        evaluation=metadata["labels"][names.LABEL_EVALUATION],
        evaluation_uid=metadata["labels"][names.LABEL_EVALUATION_UID],
        attempt=int(metadata["labels"][names.LABEL_ATTEMPT]),
        pod=metadata["name"],
        start=status["startTime"],
        end=max(ends) if ends and all(ends) else "",
        evaluator_started=started or (previous is not None and previous.evaluator_started),
    )


def read_bound_pod(pod: Object) -> BoundPod | None:
    """Return the pod if it is assigned to a node, otherwise None."""
    metadata, labels = pod["metadata"], pod["metadata"]["labels"]
    if not pod["spec"].get("nodeName"):
        return None
    return BoundPod(labels[names.LABEL_EVALUATION_UID], int(labels[names.LABEL_ATTEMPT]), metadata["name"])


class KubectlWatch:
    """`kubectl get --watch` in a thread, started again whenever it ends; each event goes to `handle`."""

    def __init__(self, release: Deployment, resource: str, handle: EventHandler, *, selector: str = "") -> None:
        kubectl = release.kubectl
        command = [kubectl.binary, "--kubeconfig", kubectl.kubeconfig, "--namespace", release.namespace]
        command += ["get", resource, "--selector", selector, "--watch", "--output-watch-events", "-o", "json"]
        self._command, self._handle, self._stopped = command, handle, threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, name=f"watch {resource}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch after it has handled what it has read."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            with self._process as process:
                self._read_events(process)
            self._stopped.wait(RESTART_SECONDS)

    def _read_events(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            # The last line may be incomplete when the process ends.
            with contextlib.suppress(json.JSONDecodeError):
                event = json.loads(line)
                self._handle(event["type"], event["object"])
