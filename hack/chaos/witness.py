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


class State(NamedTuple):
    """An evaluation at one moment."""

    phase: str
    reason: str
    attempt: int


class Run(NamedTuple):
    """An evaluator container as the kubelet reported it; times in whole seconds, `end` empty if nobody saw it."""

    evaluation: str
    uid: str
    attempt: int
    pod: str
    start: str
    end: str = ""


class Witness:
    """Sees until `stop`."""

    def __init__(self, release: Deployment) -> None:
        self.states: dict[str, list[State]] = {}
        self.runs: dict[str, Run] = {}
        self._watches = [
            Watch(release, names.PLURAL, self._evaluation),
            Watch(release, "pods", self._pod, selector=names.LABEL_EVALUATION),
        ]

    def stop(self) -> None:
        """Ends the watches."""
        for watch in self._watches:
            watch.stop()

    def pods(self) -> dict[str, Run]:
        """The last word about every pod whose evaluator has started, by the pod's name."""
        return {run.pod: run for run in self.runs.values()}

    def _evaluation(self, event: str, item: Object) -> None:
        status = item.get("status", {})
        state = State(status.get("phase", ""), status.get("reason", ""), status.get("attempt", 0))
        history = self.states.setdefault(item["metadata"]["uid"], [])
        if history[-1:] != [state]:
            history.append(state)

    def _pod(self, event: str, item: Object) -> None:
        uid = item["metadata"]["uid"]
        for container in item.get("status", {}).get("containerStatuses", []):
            if run := run_of(item, container, self.runs.get(uid)):
                self.runs[uid] = run


def run_of(pod: Object, container: Object, before: Run | None) -> Run | None:
    """What a container's status adds to what was known; None while it has not started."""
    labels, state = pod["metadata"]["labels"], container.get("state", {})
    ended = state.get("terminated", {})
    start = state.get("running", {}).get("startedAt") or ended.get("startedAt") or ""
    start = before.start if before else start
    if not start:
        return None
    return Run(
        evaluation=labels[names.LABEL_EVALUATION],
        uid=labels[names.LABEL_EVALUATION_UID],
        attempt=int(labels[names.LABEL_ATTEMPT]),
        pod=pod["metadata"]["name"],
        start=start,
        end=ended.get("finishedAt") or (before.end if before else ""),
    )


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
