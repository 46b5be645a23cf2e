"""Fault injection: kills and freezes processes, causes outages, refuses objects, deletes and adds pods and Jobs.

The faults are drawn from a seed. Processes get their signals by process id, without their supervisors knowing, and have
no chance to clean up. The rate is bounded, so that the system makes progress between two faults.
"""

import contextlib
import functools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import deployment
from deployment import CommandFailed, Deployment

from chaos import fault_manifests
from chaos.containers import NodeContainer, list_containers, send_signal
from chaos.records import CampaignRecords
from chaos.workload import LogEvent
from lmms_eval_core import names

MEAN_DELAY_SECONDS: Final = 7.0
POLL_SECONDS: Final = 0.2
# How long a fault waits for a target.
TARGET_WAIT_SECONDS: Final = 8.0
# The order is part of what a seed means.
FAULT_WEIGHTS: Final = {
    "kill operator": 4,
    "freeze operator": 1,
    "kill reporter": 2,
    "kill evaluator": 2,
    "kill harness": 1,
    "kill shim": 2,
    "delete pod": 1,
    "delete job": 1,
    "kubelet outage": 2,
    "API server outage": 2,
    "refuse jobs": 1,
    "refuse pods": 1,
    "limit jobs": 1,
    "inject container": 2,
    "add pod": 1,
}
OUTAGE_COMPONENTS: Final = {"kubelet outage": "kubelet", "API server outage": "kube-apiserver"}
OPERATOR_SELECTOR: Final = "app.kubernetes.io/component=operator"
# "kill operator" with a higher random value kills all replicas.
ALL_REPLICAS_THRESHOLD: Final = 0.7
# At times longer than any lease or probe tolerates.
FREEZE_FACTOR: Final = 4
# Longer than outages: the operator creates a Job once in a few seconds, and everything that was refused goes on later.
ADMISSION_FACTOR: Final = 2
# How long the faults that are still active may take to end after the campaign.
CLEANUP_SECONDS: Final = 60.0
# After more restarts the kubelet delays a container by minutes; a new pod begins to count from 0.
MAX_RESTARTS: Final = 2


class Fault(NamedTuple):
    """A fault, due `delay_seconds` after the one before.

    `random_value`, uniform in [0, 1), selects the target; a temporary fault lasts for `duration_seconds`.
    """

    delay_seconds: float
    kind: str
    random_value: float
    duration_seconds: float


class ActiveFault(NamedTuple):
    """A temporary fault that is in effect; `end` ends it and is due at `ends_at`, in time.monotonic's seconds."""

    ends_at: float
    kind: str
    end: Callable[[], object]


class ApiServerUnavailable(Exception):
    """The API server did not take a request, which has to be repeated."""


def generate_faults(seed: int) -> Iterator[Fault]:
    """Yield faults without end; equal seeds give equal faults."""
    # The text and the order of the draws are part of what a seed means: a change of either changes every campaign.
    random = Random(f"{seed}/blows")
    while True:
        delay = random.expovariate(1 / MEAN_DELAY_SECONDS)
        kind = random.choices(list(FAULT_WEIGHTS), list(FAULT_WEIGHTS.values()))[0]
        yield Fault(delay, kind, random.random(), random.uniform(1, 8))


class FaultInjector:
    """Injects the faults of a seed, in one thread."""

    def __init__(
        self,
        release: Deployment,
        cluster_folder: Path,
        records: CampaignRecords,
        *,
        seed: int,
        log_event: LogEvent,
    ) -> None:
        self._release, self._cluster_folder = release, cluster_folder
        self._records, self._faults, self._log_event = records, generate_faults(seed), log_event
        self._active: list[ActiveFault] = []

    def run(self, stop: threading.Event) -> None:
        """Inject faults until `stop` is set; then end all that are still active."""
        fault, since = next(self._faults), time.monotonic()
        while not stop.wait(POLL_SECONDS):
            self._end_faults(time.monotonic())
            waited = time.monotonic() - since - fault.delay_seconds
            if waited >= 0 and (self._inject(fault) or waited >= TARGET_WAIT_SECONDS):
                fault, since = next(self._faults), time.monotonic()
        deployment.wait_until(self._end_all_faults, seconds=CLEANUP_SECONDS, what="the end of temporary faults")

    def _end_all_faults(self) -> bool:
        """End every active fault; return whether none is left."""
        self._end_faults(float("inf"))
        return not self._active

    def _end_faults(self, now: float) -> None:
        """End the active faults that are due at `now` or before; keep those that cannot be ended yet."""
        for active in [active for active in self._active if active.ends_at <= now]:
            self._active.remove(active)
            try:
                active.end()
            except ApiServerUnavailable:
                self._active.append(active)
            else:
                self._log_event(f"end of {active.kind}")

    def _inject(self, fault: Fault) -> bool:
        """Inject a fault; return whether it had a target."""
        before = self._records.event_counts[fault.kind]
        match fault.kind.split():
            case ["kill", "operator"]:
                self._kill_operator(fault)
            case ["freeze", "operator"]:
                self._freeze_operator(fault)
            case ["kill", part]:
                self._kill_part(part, fault)
            case ["delete", resource]:
                self._delete_object(resource, fault)
            case [*_, "outage"]:
                self._cause_outage(fault)
            case ["add", "pod"]:
                self._add_pod(fault)
            case _:
                self._apply_admission_fault(fault)
        return self._records.event_counts[fault.kind] > before

    def _kill_operator(self, fault: Fault) -> None:
        """Kill one replica of the operator, or all of them at once."""
        found = self._list_containers("operator")
        all_replicas = fault.random_value > ALL_REPLICAS_THRESHOLD
        for target in found if all_replicas else select_target(found, fault.random_value):
            self._send_signal(target.pid, signal.SIGKILL, fault, target.pod)
        self._replace_restarted_operators()

    def _replace_restarted_operators(self) -> None:
        """Delete the operator's pods whose next restart the kubelet would delay.

        Without an API server nothing is deleted; the next fault tries again.
        """
        answer = self._run_kubectl("get", "pods", "-l", OPERATOR_SELECTOR, "-o", "json")
        for pod in json.loads(answer.stdout)["items"] if answer.returncode == 0 else ():
            restarts = [status["restartCount"] for status in pod["status"].get("containerStatuses", ())]
            if any(count >= MAX_RESTARTS for count in restarts):
                self._delete("pod", pod["metadata"]["name"])

    def _freeze_operator(self, fault: Fault) -> None:
        """Stop a replica of the operator with SIGSTOP, and continue it later."""
        for target in select_target(self._list_containers("operator"), fault.random_value):
            if self._send_signal(target.pid, signal.SIGSTOP, fault, target.pod):
                end = functools.partial(send_signal, target.pid, signal.SIGCONT)
                self._schedule_end(fault.kind, fault.duration_seconds * FREEZE_FACTOR, end)

    def _kill_part(self, part: str, fault: Fault) -> None:
        """Kill a process in the pod of a running evaluation.

        A reporter does not count as a hit: the kubelet restarts it, and the attempt goes on.
        """
        container = names.REPORTER_CONTAINER if part == "reporter" else names.EVALUATOR_CONTAINER
        for target in select_target(self._list_containers(container), fault.random_value):
            if part != "reporter":
                self._records.add_fault_hit(get_evaluation_name(target))
            for pid in list_target_processes(target, part):
                self._send_signal(pid, signal.SIGKILL, fault, target.pod)

    def _delete_object(self, resource: str, fault: Fault) -> None:
        """Delete the pod or the Job of a running evaluation, as somebody with kubectl would."""
        for target in select_target(self._list_containers(names.EVALUATOR_CONTAINER), fault.random_value):
            self._records.add_fault_hit(get_evaluation_name(target))
            name = target.pod if resource == "pod" else get_job_name(target)
            if self._delete(resource, name):
                self._record_injection(fault, name)

    def _cause_outage(self, fault: Fault) -> None:
        """Stop a component of the cluster for a while; there is nothing to stop while an outage of it lasts."""
        component = OUTAGE_COMPONENTS[fault.kind]
        with contextlib.suppress(CommandFailed):
            deployment.program("cluster", "stop", component)
            end = functools.partial(deployment.program, "cluster", "start", component)
            self._schedule_end(fault.kind, fault.duration_seconds, end)
            self._record_injection(fault, f"for {fault.duration_seconds:.0f} s")

    def _add_pod(self, fault: Fault) -> None:
        """Create a second pod for the Job of a running evaluation; nobody may remove its scheduling gate."""
        for target in select_target(self._list_containers(names.EVALUATOR_CONTAINER), fault.random_value):
            answer = self._run_kubectl("get", "job", get_job_name(target), "-o", "json")
            if answer.returncode == 0:
                pod = fault_manifests.build_second_pod(json.loads(answer.stdout))
                if self._send_manifests("create", [pod]):
                    self._record_injection(fault, target.pod)

    def _apply_admission_fault(self, fault: Fault) -> None:
        """Apply a policy or a quota for a while, unless one of the same kind is active."""
        manifests = fault_manifests.ADMISSION_FAULTS[fault.kind](self._release.namespace)
        seconds = fault.duration_seconds * ADMISSION_FACTOR
        is_active = any(active.kind == fault.kind for active in self._active)
        if not is_active and self._send_manifests("apply", manifests):
            self._schedule_end(fault.kind, seconds, functools.partial(self._delete_manifests, manifests))
            self._record_injection(fault, f"for {seconds:.0f} s")

    def _delete_manifests(self, manifests: list[fault_manifests.Object]) -> None:
        """Delete these objects; raises ApiServerUnavailable."""
        if not self._send_manifests("delete", manifests, "--ignore-not-found", "--wait=false"):
            raise ApiServerUnavailable

    def _send_manifests(self, verb: str, manifests: list[fault_manifests.Object], *options: str) -> bool:
        """Run kubectl with these objects as its input; return whether it succeeded."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        return self._run_kubectl(verb, "-f", "-", *options, stdin=text).returncode == 0

    def _delete(self, resource: str, name: str) -> bool:
        """Delete an object; return whether the API server accepted that."""
        return self._run_kubectl("delete", resource, name, "--wait=false").returncode == 0

    def _run_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        options = ("--namespace", self._release.namespace, "--request-timeout=5s")
        return self._release.kubectl.run(*options, *arguments, stdin=stdin)

    def _list_containers(self, name: str) -> list[NodeContainer]:
        return list_containers(self._cluster_folder, self._release.namespace, name)

    def _send_signal(self, pid: int, number: signal.Signals, fault: Fault, target: str) -> bool:
        sent = send_signal(pid, number)
        if sent:
            self._record_injection(fault, target)
        return sent

    def _schedule_end(self, kind: str, seconds: float, end: Callable[[], object]) -> None:
        self._active.append(ActiveFault(time.monotonic() + seconds, kind, end))

    def _record_injection(self, fault: Fault, detail: str) -> None:
        self._records.count_event(fault.kind)
        self._log_event(f"{fault.kind} {detail}")


def select_target(containers: list[NodeContainer], random_value: float) -> list[NodeContainer]:
    """Return one of the containers in a list; an empty list if there are none."""
    return [containers[int(random_value * len(containers))]] if containers else []


def list_target_processes(container: NodeContainer, part: str) -> list[int]:
    """Return the ids of the processes to kill, which may have ended meanwhile."""
    if part == "shim":
        return container.shims
    return container.children if part == "harness" else [container.pid]


def get_evaluation_name(container: NodeContainer) -> str:
    """Return the evaluation's name from the pod's, in which names as short as the workload's are not truncated."""
    return container.pod.rsplit("-", 3)[0]


def get_job_name(container: NodeContainer) -> str:
    """Return the name of the Job from the pod's."""
    return container.pod.rpartition("-")[0]
