"""Scenarios about evaluations on a real API server: the test plays users, scheduler, kubelet and reporter.

`NamespaceObserver` sees every state in between; `ScenarioRun.find_broken_promises` says what was wrong.
"""

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import namespaces
from deployment import Kubectl
from operator_namespace import (
    OperatorNamespace,
    build_ended_status,
    build_foreign_status,
    build_running_status,
    is_gated,
)

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES, PODS, KubeClient, Object, Resource
from lmms_eval_core.kube.transport import connect
from lmms_eval_core.phases import TERMINAL
from lmms_eval_operator.watch import Sink

# Phase, reason, and of each attempt reason and exit code; None of an evaluation that was deleted.
End = tuple[str, str, list[tuple[str, int | None]]] | None
# Time-out of the test's own calls, for a busy machine.
REQUEST_TIMEOUT_SECONDS = 60.0
COMPLETED: End = ("Completed", "Succeeded", [("Succeeded", 0)])

NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
ADMISSION = "admissionregistration.k8s.io"
REFUSING = "lmms-eval.io/test-refuses-jobs"


@dataclass(frozen=True)
class Scenario:
    """What happens, how each evaluation ends, and the settings of the operator."""

    play: "Callable[[ScenarioRun], Awaitable[None]]"
    ends: dict[str, End]
    settings: dict[str, Any] = field(default_factory=dict)
    one_in: int = 1
    """The scenario is played with every so many of the selected pairs of write and fault."""


class NamespaceObserver:
    """Follows all objects by watches, and collects states that must never occur in `broken_promises`.

    `sink` gets every event, as from kopf.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._news = asyncio.Event()
        self.items: dict[Resource, dict[str, Object]] = {resource: {} for resource in (EVALUATIONS, JOBS, PODS, LEASES)}
        self.made: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        """The uids of the Jobs of each attempt (evaluation, number)."""
        self.opened: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        """The uids of its pods whose gate was opened."""
        self.broken_promises: list[str] = []
        self.sink: Sink = lambda resource, deleted, item: None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for resource in self.items:
                group.create_task(self._follow(resource))

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition holds."""
        while not condition():
            await self._news.wait()

    def reset(self) -> None:
        """Forget what was collected, for the next scenario."""
        self.broken_promises = []
        self.made.clear()
        self.opened.clear()

    async def _follow(self, resource: Resource) -> None:
        version = (await self._client.list(resource)).resource_version
        while True:
            async for kind, item in self._client.watch(resource, resource_version=version):
                version = item["metadata"]["resourceVersion"]
                if kind != "BOOKMARK":
                    self._take(resource, kind == "DELETED", item)

    def _take(self, resource: Resource, deleted: bool, item: Object) -> None:
        known, name = self.items[resource], item["metadata"]["name"]
        self._check_state(resource, known.get(name), item)
        if deleted:
            del known[name]
        else:
            known[name] = item
        self._check_slots()
        self.sink(resource, deleted, item)
        self._news.set()
        self._news = asyncio.Event()

    def _check_state(self, resource: Resource, before: Object | None, item: Object) -> None:
        if resource is JOBS:
            self.made[read_attempt(item)].add(item["metadata"]["uid"])
        if resource is PODS and not is_gated(item):
            self.opened[read_attempt(item)].add(item["metadata"]["uid"])
        if (
            resource is EVALUATIONS
            and before is not None
            and _has_ended(before)
            and _read_end(before) != _read_end(item)
        ):
            self.broken_promises.append(
                f"{item['metadata']['name']} had ended as {_read_end(before)} and became {_read_end(item)}"
            )

    def _check_slots(self) -> None:
        live: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
        for pod in self.items[PODS].values():
            if pod["status"]["phase"] not in ("Succeeded", "Failed") and not is_gated(pod) and not _gets_no_node(pod):
                live[pod["metadata"]["labels"][names.LABEL_SLOT]].add(read_attempt(pod))
        self.broken_promises += [
            f"slot {slot} had several live attempts: {held}" for slot, held in live.items() if len(held) > 1
        ]


@contextlib.asynccontextmanager
async def observe_namespace(
    kubeconfig: str, kubectl: Kubectl
) -> AsyncIterator[tuple[OperatorNamespace, NamespaceObserver]]:
    """Create a namespace for as long as the block lasts; yield it and its observer."""
    made = namespaces.build_namespace()
    name = made["metadata"]["name"]
    client = await connect(namespace=name, kubeconfig=kubeconfig, request_seconds=REQUEST_TIMEOUT_SECONDS)
    uid = (await client.create(NAMESPACES, made))["metadata"]["uid"]
    place, observer = OperatorNamespace(client, kubectl), NamespaceObserver(client)
    await place.prepare()
    observing = asyncio.create_task(observer.run())
    try:
        yield place, observer
    finally:
        observing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await observing
        await client.delete(NAMESPACES, name, uid=uid)
        await client.close()


@contextlib.asynccontextmanager
async def install_job_policy(client: KubeClient) -> AsyncIterator[None]:
    """Install a policy that refuses Jobs while `ScenarioRun.refuse_jobs` has labelled the namespace `REFUSING`."""
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    labels = {"kubernetes.io/metadata.name": client.namespace, REFUSING: "true"}
    constraints = {"namespaceSelector": {"matchLabels": labels}, "resourceRules": [rule]}
    # What is left of a run that was killed is known by the namespace at the beginning of its name.
    name = f"{client.namespace}.jobs"
    specs = {
        "Policy": {
            "matchConstraints": constraints,
            "validations": [{"expression": "false", "message": "no Jobs for now"}],
        },
        "PolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }
    made: list[tuple[Resource, Object]] = []
    for kind, spec in specs.items():
        plural = {"Policy": "policies", "PolicyBinding": "policybindings"}[kind]
        resource = Resource(ADMISSION, "v1", f"validatingadmission{plural}", namespaced=False)
        body = {
            "apiVersion": f"{ADMISSION}/v1",
            "kind": f"ValidatingAdmission{kind}",
            "metadata": {"name": name},
            "spec": spec,
        }
        made.append((resource, await client.create(resource, body)))
    try:
        yield
    finally:
        for resource, item in reversed(made):
            await client.delete(resource, name, uid=item["metadata"]["uid"])


class ScenarioRun:
    """The evaluations of one scenario, and what everybody but the operator does to them."""

    numbers = itertools.count(1)

    def __init__(self, place: OperatorNamespace, observer: NamespaceObserver) -> None:
        self._place = place
        self._observer = observer
        self._prefix = f"s{next(self.numbers)}-"
        self._refusing = False
        observer.reset()

    # Results.

    async def wait_until_over(self) -> None:
        """Wait until all have ended, the slots are free, and the Jobs are left to Kubernetes."""
        await self._observer.wait_until(self._is_over)

    def find_broken_promises(self, ends: dict[str, End]) -> list[str]:
        """List a sentence for each broken promise."""
        return [*self._observer.broken_promises, *self._find_wrong_ends(ends), *self._find_wrong_jobs(ends)]

    def describe(self) -> str:
        """Describe all objects, for a scenario that did not end."""
        jobs = self._observer.items[JOBS].values()
        states = {job["metadata"]["name"]: job["status"] for job in jobs}
        pods = {name: (is_gated(pod), pod["status"]["phase"]) for name, pod in self._observer.items[PODS].items()}
        told = {name: item["status"] for name, item in self._evaluations().items()}
        return f"{told}, slots {self._holders()}, Jobs {states}, pods {pods}"

    async def clear(self) -> None:
        """Delete the evaluations, after ending what still runs."""
        if self._refusing:
            await self.refuse_jobs(False)
        for pod, item in list(self._observer.items[PODS].items()):
            if item["status"]["phase"] not in ("Succeeded", "Failed"):
                await self._place.end_pod(pod, 143)
        for name in self._evaluations():
            await self._place.delete(EVALUATIONS, name)
        await self._observer.wait_until(lambda: not self._evaluations())

    async def clear_slots(self) -> None:
        """Delete the slots, so that the next operator begins with creating them."""
        for name in self._holders():
            await self._place.delete(LEASES, name)
        await self._observer.wait_until(lambda: not self._holders())

    def find_holder(self) -> str:
        """Return the holder of the slot."""
        return "".join(self._holders().values()).removeprefix(self._prefix)

    def _is_over(self) -> bool:
        ended, jobs = map(_has_ended, self._evaluations().values()), self._observer.items[JOBS].values()
        return all(ended) and not any(self._holders().values()) and all(map(_is_left, jobs))

    def _find_wrong_ends(self, ends: dict[str, End]) -> list[str]:
        found = {name: _describe_end(self._evaluations().get(self._prefix + name)) for name in ends}
        return [f"{name} ended as {found[name]}" for name, end in ends.items() if found[name] != end]

    def _find_wrong_jobs(self, ends: dict[str, End]) -> list[str]:
        made = {attempt: uids for attempt, uids in self._observer.made.items() if attempt[0].startswith(self._prefix)}
        twice = [
            f"{name} has {len(uids)} Jobs of attempt {number}" for (name, number), uids in made.items() if len(uids) > 1
        ]
        pods = {attempt: uids for attempt, uids in self._observer.opened.items() if attempt[0].startswith(self._prefix)}
        twice += [
            f"{name} has {len(uids)} open pods of attempt {number}"
            for (name, number), uids in pods.items()
            if len(uids) > 1
        ]
        counts = {name: sum(of == self._prefix + name for of, _ in made) for name in ends}
        many = [
            f"{name} had {counts[name]} attempts" for name, end in ends.items() if end and counts[name] != len(end[2])
        ]
        return [*twice, *many]

    def _evaluations(self) -> dict[str, Object]:
        return {name: item for name, item in self._observer.items[EVALUATIONS].items() if name.startswith(self._prefix)}

    def _holders(self) -> dict[str, str]:
        leases = self._observer.items[LEASES].items()
        slots = {name: lease for name, lease in leases if names.LABEL_SLOT in lease["metadata"].get("labels", {})}
        return {name: str(lease.get("spec", {}).get("holderIdentity") or "") for name, lease in slots.items()}

    # Users.

    async def submit(self, name: str, **spec: Any) -> None:
        """Create an evaluation, with one attempt unless `retries` says more."""
        await self._place.submit(self._prefix + name, **spec)

    async def edit(self, name: str, **spec: Any) -> None:
        await self._place.edit(self._prefix + name, **spec)

    async def delete(self, name: str) -> None:
        await self._place.delete(EVALUATIONS, self._prefix + name)

    async def backdate_start(self, name: str) -> None:
        """Set startedAt to years ago."""
        patch = [{"op": "replace", "path": "/status/startedAt", "value": "2020-01-01T00:00:00Z"}]
        await self._place.client.json_patch(EVALUATIONS, self._prefix + name, patch, subresource="status")

    async def wait_for_reason(self, name: str, reason: str) -> None:
        """Wait until the status gives this reason."""
        await self._observer.wait_until(lambda: self._status(name).get("reason") == reason)

    # The cluster's administrator.

    async def refuse_jobs(self, refused: bool) -> None:
        """Let the policy of `install_job_policy` refuse all Jobs from now on, or accept them again."""
        self._refusing = refused
        patch = [
            {"op": "add", "path": f"/metadata/labels/{REFUSING.replace('/', '~1')}", "value": str(refused).lower()}
        ]
        await self._place.client.json_patch(NAMESPACES, self._place.client.namespace, patch)
        await self._place.wait_until_jobs_are_refused(refused)

    # Scheduler, kubelet and reporter.

    async def start_run(self, name: str, attempt: int = 1) -> str:
        """Let the evaluator get a node and run, until the status names the node; return the pod's name."""
        pod = await self._pod(name, attempt)
        await self._bind(pod, node=f"node-of-{pod}")
        await self._place.set_pod_status(pod, phase="Running", containerStatuses=[build_running_status()])
        await self._observer.wait_until(lambda: "node" in (self._status(name).get("attempts") or [{}])[-1])
        return pod

    async def publish_and_end(self, name: str, pod: str) -> None:
        """Publish scores and end the pod with success."""
        await self._place.publish_scores(self._prefix + name)
        await self._place.end_pod(pod, 0)

    async def publish_beside_foreign_container(self, name: str, pod: str) -> None:
        """Publish scores and end the evaluator; an injected container keeps the pod until it is deleted."""
        await self._place.publish_scores(self._prefix + name)
        await self._place.set_pod_status(pod, containerStatuses=[build_ended_status(0), build_foreign_status()])
        await self._observer.wait_until(lambda: "deletionTimestamp" in self._observer.items[PODS][pod]["metadata"])
        await self._place.end_pod(pod, 0)

    async def report_stage(self, name: str, stage: str, *, at: str) -> None:
        """Report a stage with this time of the node's clock; wait until the status shows it."""
        await self._place.report_stage(self._prefix + name, stage=stage, updated_at=at)
        await self.wait_for_reason(name, stage)

    async def complete(self, name: str, attempt: int = 1) -> None:
        """Let it run and end with success."""
        await self.publish_and_end(name, await self.start_run(name, attempt))

    async def fail(self, name: str, exit_code: int, attempt: int = 1) -> None:
        """Let it run and end with this exit code."""
        await self._place.end_pod(await self.start_run(name, attempt), exit_code)

    async def stop(self, name: str, attempt: int = 1) -> None:
        """Wait until its pod is deleted, and end the pod."""
        pod = await self._pod(name, attempt)
        await self._observer.wait_until(lambda: "deletionTimestamp" in self._observer.items[PODS][pod]["metadata"])
        await self._place.end_pod(pod, 143)

    async def _pod(self, name: str, attempt: int) -> str:
        def there() -> list[str]:
            pods = self._observer.items[PODS].items()
            return [
                pod for pod, item in pods if read_attempt(item) == (self._prefix + name, attempt) and not is_gated(item)
            ]

        await self._observer.wait_until(there)
        return there()[0]

    async def _bind(self, pod: str, *, node: str) -> None:
        """Bind the pod to a node name of its own: the garbage collector ends pods of a node that is long missing."""
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"kind": "Node", "name": node},
        }
        await self._place.client.create(Resource("", "v1", f"pods/{pod}/binding"), body)

    def _status(self, name: str) -> Object:
        status: Object = self._observer.items[EVALUATIONS].get(self._prefix + name, {}).get("status", {})
        return status


def read_attempt(item: Object) -> tuple[str, int]:
    """Return the evaluation and the number of the attempt that a Job or a pod belongs to."""
    labels = item["metadata"]["labels"]
    return labels[names.LABEL_EVALUATION], int(labels[names.LABEL_ATTEMPT])


def _has_ended(evaluation: Object) -> bool:
    return evaluation["status"]["phase"] in TERMINAL


def _read_end(evaluation: Object) -> tuple[str, str, str]:
    status = evaluation["status"]
    return status["phase"], status["reason"], status["completedAt"]


def _describe_end(evaluation: Object | None) -> End:
    if evaluation is None:
        return None
    status = evaluation["status"]
    attempts = [(entry.get("reason", ""), entry.get("exitCode")) for entry in status.get("attempts", [])]
    return status["phase"], status["reason"], attempts


def _gets_no_node(pod: Object) -> bool:
    """Return whether it was deleted before it had a node: the API server no longer binds it."""
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")


def _is_left(job: Object) -> bool:
    return "deletionTimestamp" in job["metadata"] or "ttlSecondsAfterFinished" in job["spec"]
