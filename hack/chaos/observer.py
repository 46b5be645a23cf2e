"""Everything that evaluations and their pods were seen to be, from beginning to end: objects go, what was seen of them stays.

Two watches that list again whenever the API server comes back. Believed are the kubelet's own words about containers, and
of the evaluations what anybody could have read.
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
See = Callable[[str, Object], None]
AGAIN_SECONDS = 0.2
KINDS = ("initContainerStatuses", "containerStatuses")


class State(NamedTuple):
    """An evaluation at one moment."""

    phase: str
    reason: str
    attempt: int


class Run(NamedTuple):
    """A pod as the kubelet reported it, in whole seconds: from when it took the pod on to the end of its last container.

    `end` is empty if nobody saw it; `ran` says whether the evaluator has started in it.
    """

    evaluation: str
    uid: str
    attempt: int
    pod: str
    start: str
    end: str = ""
    ran: bool = False


class Bound(NamedTuple):
    """A pod that was given a node, whether it has run or not."""

    uid: str
    """Its evaluation's."""
    attempt: int
    pod: str


class Witness:
    """Sees until `stop`."""

    def __init__(self, release: Deployment) -> None:
        self.states: dict[str, list[State]] = {}
        self.runs: dict[str, Run] = {}
        self.bound: set[Bound] = set()
        self._watches = [
            Watch(release, names.PLURAL, self._evaluation),
            Watch(release, "pods", self._pod, selector=names.LABEL_EVALUATION),
        ]

    def stop(self) -> None:
        """Ends the watches."""
        for watch in self._watches:
            watch.stop()

    def _evaluation(self, event: str, item: Object) -> None:
        status = item.get("status", {})
        state = State(status.get("phase", ""), status.get("reason", ""), status.get("attempt", 0))
        history = self.states.setdefault(item["metadata"]["uid"], [])
        if history[-1:] != [state]:
            history.append(state)

    def _pod(self, event: str, item: Object) -> None:
        if run := run_of(item, self.runs.get(item["metadata"]["uid"])):
            self.runs[item["metadata"]["uid"]] = run
        if bound := bound_of(item):
            self.bound.add(bound)


def run_of(pod: Object, before: Run | None) -> Run | None:
    """What is known of a pod's run by now; None until the kubelet has taken it on."""
    metadata, status = pod["metadata"], pod.get("status", {})
    states = [container["state"] for kind in KINDS for container in status.get(kind, ())]
    ends = [state.get("terminated", {}).get("finishedAt") for state in states]
    started = any("waiting" not in container["state"] for container in status.get("containerStatuses", ()))
    if not status.get("startTime"):
        return None
    return Run(
        evaluation=metadata["labels"][names.LABEL_EVALUATION],
        uid=metadata["labels"][names.LABEL_EVALUATION_UID],
        attempt=int(metadata["labels"][names.LABEL_ATTEMPT]),
        pod=metadata["name"],
        start=status["startTime"],
        end=max(ends) if ends and all(ends) else "",
        ran=started or (before is not None and before.ran),
    )


def bound_of(pod: Object) -> Bound | None:
    """The pod, if it has a node."""
    metadata, labels = pod["metadata"], pod["metadata"]["labels"]
    if not pod["spec"].get("nodeName"):
        return None
    return Bound(labels[names.LABEL_EVALUATION_UID], int(labels[names.LABEL_ATTEMPT]), metadata["name"])


class Watch:
    """`kubectl get --watch`, started again whenever it ends."""

    def __init__(self, release: Deployment, resource: str, see: See, *, selector: str = "") -> None:
        command = [release.kubectl.binary, "--kubeconfig", release.kubectl.kubeconfig, "--namespace", release.namespace]
        command += ["get", resource, "--selector", selector, "--watch", "--output-watch-events", "-o", "json"]
        self._command, self._see, self._stopped = command, see, threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, name=f"watch {resource}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it, after what it has read."""
        self._stopped.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            with subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as self._process:
                self._read(self._process)
            self._stopped.wait(AGAIN_SECONDS)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # Cut off by its end.
                event = json.loads(line)
                self._see(event["type"], event["object"])
