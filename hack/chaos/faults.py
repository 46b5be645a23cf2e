"""What goes wrong: processes are killed or frozen, outages and policies come and pass, pods and Jobs are deleted or made.

Drawn from a seed. Everything is killed by process id, whatever its supervisors believe, and nobody says goodbye. The
rate is bounded, so that the system can get on with its work between two blows.
"""

import contextlib
import functools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import deployment
from deployment import CommandFailed, Deployment

from chaos import fault_manifests
from chaos.containers import Container, containers, send
from chaos.records import Ledger
from chaos.workload import Say
from lmms_eval_core import names

MEAN_GAP_SECONDS: Final = 7.0
TICK: Final = 0.2
# So long a blow waits for somebody to meet.
AIM_SECONDS: Final = 8.0
WEIGHTS: Final = {
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
COMPONENTS: Final = {"kubelet outage": "kubelet", "API server outage": "kube-apiserver"}
OPERATOR: Final = "app.kubernetes.io/component=operator"
# Of the blows at operators, those with a higher pick meet all replicas.
ALL_REPLICAS: Final = 0.7
# Longer than outages: a Job is offered once in a few seconds, and all that has waited for it is to go on afterwards.
RULES_LAST: Final = 2
LAST_SECONDS: Final = 60.0
# Beyond so many restarts the kubelet makes a container wait for minutes; a new pod has none behind it.
RESTARTS: Final = 2


class Blow(NamedTuple):
    """What happens `after` seconds; `pick` in [0, 1) chooses whom it meets; what passes by itself lasts `seconds`."""

    after: float
    verb: str
    pick: float
    seconds: float


def blows(seed: int) -> Iterator[Blow]:
    """Blows without end; the same ones for the same seed."""
    random = Random(f"{seed}/blows")
    while True:
        after = random.expovariate(1 / MEAN_GAP_SECONDS)
        verb = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        yield Blow(after, verb, random.random(), random.uniform(1, 8))


class NotYet(Exception):
    """The API server is away; it has to be asked again."""


class Misfortune:
    """All that goes wrong, as one thread."""

    def __init__(self, release: Deployment, state: Path, ledger: Ledger, *, seed: int, say: Say) -> None:
        self._release, self._state = release, state
        self._ledger, self._blows, self._say = ledger, blows(seed), say
        self._passing: list[tuple[float, str, Callable[[], object]]] = []

    def live(self, stop: threading.Event) -> None:
        """Until `stop`; then what passes by itself is over."""
        blow, since = next(self._blows), time.monotonic()
        while not stop.wait(TICK):
            self._pass(time.monotonic())
            waited = time.monotonic() - since - blow.after
            if waited >= 0 and (self._strike(blow) or waited >= AIM_SECONDS):
                blow, since = next(self._blows), time.monotonic()
        deployment.wait_until(self._all_passed, seconds=LAST_SECONDS, what="the end of what passes by itself")

    def _all_passed(self) -> bool:
        self._pass(float("inf"))
        return not self._passing

    def _pass(self, now: float) -> None:
        """Ends what has lasted long enough; what the API server is needed for, once that is there."""
        for moment in [moment for moment in self._passing if moment[0] <= now]:
            self._passing.remove(moment)
            try:
                moment[2]()
            except NotYet:
                self._passing.append(moment)
            else:
                self._say(f"end of {moment[1]}")

    def _strike(self, blow: Blow) -> bool:
        """Whether it met anybody."""
        before = self._ledger.done[blow.verb]
        match blow.verb.split():
            case ["kill", "operator"]:
                self._kill_operator(blow)
            case ["freeze", "operator"]:
                self._freeze(blow)
            case ["kill", part]:
                self._kill(part, blow)
            case ["delete", kind]:
                self._delete(kind, blow)
            case [*_, "outage"]:
                self._outage(blow)
            case ["add", "pod"]:
                self._add_pod(blow)
            case _:
                self._impose(blow)
        return self._ledger.done[blow.verb] > before

    def _kill_operator(self, blow: Blow) -> None:
        """One replica, or all at once."""
        found = self._containers("operator")
        for victim in found if blow.pick > ALL_REPLICAS else chosen(found, blow.pick):
            self._send(victim.pid, signal.SIGKILL, blow, victim.pod)
        self._replace_operators()

    def _replace_operators(self) -> None:
        """Deletes pods of the operator that the kubelet would keep waiting; what cannot be asked now is asked the next time."""
        answer = self._release.kubectl.run(*self._scope, "get", "pods", "-l", OPERATOR, "-o", "json")
        for pod in json.loads(answer.stdout)["items"] if answer.returncode == 0 else ():
            restarts = [status["restartCount"] for status in pod["status"].get("containerStatuses", ())]
            if any(count >= RESTARTS for count in restarts):
                self._ask("delete", "pod", pod["metadata"]["name"])

    def _freeze(self, blow: Blow) -> None:
        """For longer than any lease or probe has patience, at times."""
        for victim in chosen(self._containers("operator"), blow.pick):
            if self._send(victim.pid, signal.SIGSTOP, blow, victim.pod):
                self._later(blow.seconds * 4, blow.verb, functools.partial(send, victim.pid, signal.SIGCONT))

    def _kill(self, part: str, blow: Blow) -> None:
        """A process of the pod of an evaluation that runs. A reporter is started again, and nothing is lost by that."""
        container = names.REPORTER_CONTAINER if part == "reporter" else names.EVALUATOR_CONTAINER
        for victim in chosen(self._containers(container), blow.pick):
            if part != "reporter":
                self._ledger.hit(evaluation_of(victim))
            for pid in processes_of(victim, part):
                self._send(pid, signal.SIGKILL, blow, victim.pod)

    def _delete(self, kind: str, blow: Blow) -> None:
        """As a person would, of an evaluation that runs."""
        for victim in chosen(self._containers(names.EVALUATOR_CONTAINER), blow.pick):
            self._ledger.hit(evaluation_of(victim))
            name = victim.pod if kind == "pod" else victim.pod.rpartition("-")[0]
            if self._ask("delete", kind, name):
                self._done(blow, name)

    def _outage(self, blow: Blow) -> None:
        """One at a time of each; a second one while the first lasts finds nothing to kill."""
        component = COMPONENTS[blow.verb]
        with contextlib.suppress(CommandFailed):
            deployment.program("cluster", "stop", component)
            self._later(blow.seconds, blow.verb, functools.partial(deployment.program, "cluster", "start", component))
            self._done(blow, f"for {blow.seconds:.0f} s")

    def _add_pod(self, blow: Blow) -> None:
        """A second pod for the Job of an evaluation that runs: it begins behind the gate, and nobody may open that."""
        for victim in chosen(self._containers(names.EVALUATOR_CONTAINER), blow.pick):
            answer = self._release.kubectl.run(*self._scope, "get", "job", victim.pod.rpartition("-")[0], "-o", "json")
            if answer.returncode == 0 and self._give("create", [fault_manifests.second_pod(json.loads(answer.stdout))]):
                self._done(blow, victim.pod)

    def _impose(self, blow: Blow) -> None:
        """A rule of the cluster, for a while; a second one of its kind while the first lasts is none."""
        items = fault_manifests.PASSING[blow.verb](self._release.namespace)
        in_force = any(what == blow.verb for _, what, _ in self._passing)
        if not in_force and self._give("apply", items):
            self._later(blow.seconds * RULES_LAST, blow.verb, functools.partial(self._lift, items))
            self._done(blow, f"for {blow.seconds * RULES_LAST:.0f} s")

    def _lift(self, items: list[fault_manifests.Object]) -> None:
        """Raises NotYet."""
        if not self._give("delete", items, "--ignore-not-found", "--wait=false"):
            raise NotYet

    def _give(self, verb: str, items: list[fault_manifests.Object], *options: str) -> bool:
        """Whether the API server was there to take these objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        return self._release.kubectl.run(*self._scope, verb, "-f", "-", *options, stdin=text).returncode == 0

    def _containers(self, name: str) -> list[Container]:
        return containers(self._state, self._release.namespace, name)

    def _send(self, pid: int, number: signal.Signals, blow: Blow, whom: str) -> bool:
        sent = send(pid, number)
        if sent:
            self._done(blow, whom)
        return sent

    def _ask(self, *arguments: str) -> bool:
        """Whether the API server was there to do it."""
        return self._release.kubectl.run(*self._scope, *arguments, "--wait=false").returncode == 0

    @property
    def _scope(self) -> tuple[str, ...]:
        return ("--namespace", self._release.namespace, "--request-timeout=5s")

    def _later(self, seconds: float, what: str, end: Callable[[], object]) -> None:
        self._passing.append((time.monotonic() + seconds, what, end))

    def _done(self, blow: Blow, whom: str) -> None:
        self._ledger.count(blow.verb)
        self._say(f"{blow.verb} {whom}")


def chosen(found: list[Container], pick: float) -> list[Container]:
    """One of them; none where there are none."""
    return [found[int(pick * len(found))]] if found else []


def processes_of(container: Container, part: str) -> list[int]:
    """The processes to kill, which may have ended meanwhile."""
    if part == "shim":
        return container.shims
    return container.children if part == "harness" else [container.pid]


def evaluation_of(container: Container) -> str:
    """The evaluation's name: short ones are whole in the names of their pods."""
    return container.pod.rsplit("-", 3)[0]
