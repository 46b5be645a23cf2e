"""The operator's parts in a namespace of a real API server without a node.

The Job controller is real; tests play users, kubelet and reporter.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from deployment import Kubectl

from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES, PODS, KubeClient, Object, Patch, Resource
from lmms_eval_operator.main import compose_reconciler, now_utc
from lmms_eval_operator.reconcile import Reconciler
from lmms_eval_operator.settings import Settings

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
SCORES = {"mme": {"acc,none": {"value": 0.5, "stderr": None}}}


class OperatorKilled(BaseException):
    """The operator's process has died: nothing in it can catch that."""


class MortalClient:
    """A client that raises OperatorKilled before write number `dies_at`, counted from 1."""

    def __init__(self, client: KubeClient, *, dies_at: int = 0) -> None:
        self._client = client
        self._dies_at = dies_at
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        made: Object = await self._write(f"create {resource.plural}", lambda: self._client.create(resource, body))
        return made

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        what = f"patch {resource.plural}"
        patched: Object = await self._write(
            what, lambda: self._client.json_patch(resource, name, patch, subresource=subresource)
        )
        return patched

    async def delete(self, resource: Resource, name: str, *, uid: str, resource_version: str = "") -> None:
        what = f"delete {resource.plural}"
        await self._write(what, lambda: self._client.delete(resource, name, uid=uid, resource_version=resource_version))

    async def _write(self, what: str, write: Callable[[], Awaitable[Any]]) -> Any:
        self.writes.append(what)
        if len(self.writes) == self._dies_at:
            raise OperatorKilled(what)
        return await write()


class OperatorNamespace:
    """A namespace with its evaluations, and what users, kubelet and reporter do to them."""

    def __init__(self, client: KubeClient, kubectl: Kubectl) -> None:
        self.client = client
        self._kubectl = kubectl
        self.settings = Settings(
            namespace=client.namespace,
            evaluator_image="evaluator:1",
            reporter_image="reporter:1",
            retry_backoff_seconds=1,
        )
        # How far the operators' time of day is ahead: a test lets an hour pass at a moment of its choice.
        self.time_passed = timedelta()

    @property
    def node(self) -> str:
        """The name of a node that does not exist, so that the test ends its pods.

        The control plane removes such pods after 40 s without a node of this name, hence one name for each test.
        """
        return f"node-of-{self.client.namespace}"

    async def prepare(self) -> None:
        """Create the service account of evaluator pods."""
        await self.client.create(SERVICE_ACCOUNTS, _named("ServiceAccount", self.settings.reporter_service_account))

    def make_operator(self, client: Any = None) -> Reconciler:
        """Make a new operator; it lists on every pass instead of watching."""
        reconciler = compose_reconciler(
            client or self.client, self.settings, time_of_day=lambda: now_utc() + self.time_passed
        )
        reconciler.relist_seconds = 0
        return reconciler

    # Users.

    async def submit(self, name: str, *, retries: int = 0, **spec: Any) -> Object:
        """Create an evaluation, with one attempt unless `retries` says more."""
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}}
        return await self.client.create(
            EVALUATIONS, {**body, "spec": {"model": "llava_hf", "tasks": ["mme"], "retries": retries, **spec}}
        )

    async def edit(self, name: str, **spec: Any) -> None:
        await self.client.json_patch(
            EVALUATIONS, name, [{"op": "add", "path": f"/spec/{key}", "value": spec[key]} for key in spec]
        )

    async def delete(self, resource: Resource, name: str) -> None:
        item = await self.client.get(resource, name)
        await self.client.delete(resource, name, uid=item["metadata"]["uid"])

    # Reads.

    async def read_status(self, name: str) -> Object:
        status: Object = (await self.client.get(EVALUATIONS, name))["status"]
        return status

    async def read_phase(self, name: str) -> tuple[str, str]:
        status = await self.read_status(name)
        return status["phase"], status["reason"]

    async def list_jobs(self, name: str = "") -> list[Object]:
        return (await self.client.list(JOBS, label_selector=f"{names.LABEL_EVALUATION}={name}" if name else "")).items

    async def list_pods(self, name: str) -> list[Object]:
        return (await self.client.list(PODS, label_selector=f"{names.LABEL_EVALUATION}={name}")).items

    async def read_holder(self, slot: int = 0) -> str:
        lease = await self.client.get(LEASES, names.slot_lease_name(slot))
        return str(lease["spec"].get("holderIdentity") or "")

    async def wait_until_jobs_are_refused(self, refused: bool = True) -> None:
        """Wait until the cluster's policies refuse a Job named `odd`, or accept it."""
        async with asyncio.timeout(60):
            while True:
                if await self._is_job_refused() is refused:
                    return
                await asyncio.sleep(0.05)

    async def _is_job_refused(self) -> bool:
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
        spec = {"suspend": True, "template": template}
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "odd"}, "spec": spec}
        try:
            await self.client.create(JOBS, body, dry_run=True)
        except (errors.Invalid, errors.Forbidden, errors.NotAdmitted):
            return True
        return False

    # The kubelet and the reporter.

    async def wait_for_pod(self, name: str) -> str:
        """Wait for an evaluation's pod with an open gate; return its name."""
        return await self._wait_for_open_pod(f"{names.LABEL_EVALUATION}={name}")

    async def wait_for_pod_of_job(self, job: str) -> str:
        """Wait for a Job's pod with an open gate; return its name."""
        return await self._wait_for_open_pod(f"batch.kubernetes.io/job-name={job}")

    async def _wait_for_open_pod(self, selector: str) -> str:
        async with asyncio.timeout(60):
            while True:
                pods = (await self.client.list(PODS, label_selector=selector)).items
                if found := [pod["metadata"]["name"] for pod in pods if not is_gated(pod)]:
                    return str(found[-1])
                await asyncio.sleep(0.02)

    async def create_second_pod(self, name: str) -> str:
        """Create a second pod of a Job, as its controller does when the answer to its first create was lost."""
        (job,) = await self.list_jobs(name)
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        own = {"name": f"{metadata['name']}-late", "ownerReferences": [owner], **template["metadata"]}
        made = await self.client.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": own, "spec": template["spec"]}
        )
        return str(made["metadata"]["name"])

    async def bind(self, name: str) -> str:
        """Bind the evaluation's pod to the node: from now on only the test, as kubelet, can end it."""
        pod = await self.wait_for_pod(name)
        await self.bind_pod(pod)
        return pod

    async def bind_pod(self, pod: str) -> None:
        """Bind a pod to the node."""
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"kind": "Node", "name": self.node},
        }
        await self.client.create(Resource("", "v1", f"pods/{pod}/binding"), body)

    async def set_pod_status(self, pod: str, **status: Any) -> None:
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
        await self.client.json_patch(PODS, pod, patch, subresource="status")

    async def end_pod_of(self, name: str, exit_code: int) -> None:
        """End the evaluator container of an evaluation's pod."""
        await self.end_pod(await self.wait_for_pod(name), exit_code)

    async def end_pod(self, pod: str, exit_code: int) -> None:
        """End the evaluator container of a pod."""
        await self.set_pod_status(
            pod,
            phase="Failed" if exit_code else "Succeeded",
            containerStatuses=[build_ended_status(exit_code)],
            reason="",
        )

    async def remove_pod(self, pod: str) -> None:
        """Delete the pod by force, whatever runs in it; a pod with a finalizer of its Job stays as a deleted one."""
        arguments = ["-n", self.client.namespace, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false"]
        await asyncio.to_thread(lambda: self._kubectl(*arguments))

    async def publish_scores(self, name: str) -> None:
        """Write scores for the running attempt, as the reporter does."""
        await self._report(name, scores=SCORES, summary="mme 0.5")

    async def report_stage(self, name: str, *, stage: str, updated_at: str, **more: Any) -> None:
        """Write progress of the running attempt, as the reporter does; `more` are further fields of it."""
        await self._report(name, progress={"stage": stage, "text": stage, "updatedAt": updated_at, **more})

    async def _report(self, name: str, **said: Any) -> None:
        fields = {"reportedAttempt": (await self.read_status(name))["attempt"], **said}
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
        await self.client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def work_until(operator: Reconciler, condition: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
    """Let the operator work until the condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            await operator.work()
            if await condition():
                return
            await asyncio.sleep(0.05)


def is_gated(pod: Object) -> bool:
    """Return whether the pod has the operator's scheduling gate."""
    return {"name": names.SCHEDULING_GATE} in pod["spec"].get("schedulingGates", [])


def build_running_status() -> Object:
    """Build the status of a running evaluator container."""
    return {**_container(), "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}


def build_foreign_status() -> Object:
    """Build the status of an injected container that never ends by itself."""
    return {**build_running_status(), "name": "foreign", "image": "foreign:1"}


def build_ended_status(exit_code: int, **more: Any) -> Object:
    """Build the status of an ended evaluator container."""
    ended = {"exitCode": exit_code, "finishedAt": "2026-01-01T00:00:00Z", **more}
    return {**_container(), "state": {"terminated": ended}}


def _container() -> Object:
    return {"name": names.EVALUATOR_CONTAINER, "image": "evaluator:1", "imageID": "", "ready": False, "restartCount": 0}


def _named(kind: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
