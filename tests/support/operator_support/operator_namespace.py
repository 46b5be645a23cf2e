"""The operator's parts on a real API server without a node: the Job controller is real, and the tests
play the kubelet.
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
    """A client whose process dies just before its `dies_at`th write, from 1."""

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
    """One namespace, its evaluations, and the kubelet's and the reporter's part in them."""

    def __init__(self, client: KubeClient, kubectl: Kubectl) -> None:
        self.client = client
        self._kubectl = kubectl
        self.settings = Settings(
            namespace=client.namespace,
            evaluator_image="evaluator:1",
            reporter_image="reporter:1",
            retry_backoff_seconds=1,
        )
        # What the operators' time of day is ahead: a test lets an hour pass when it is ready for it, on a busy machine
        # too.
        self.time_passed = timedelta()

    @property
    def node(self) -> str:
        """A node that there is not: its pods are ours to end.

        The control plane removes them once it has known for 40 s that there is none of this name, hence one for each
        test.
        """
        return f"node-of-{self.client.namespace}"

    async def prepare(self) -> None:
        """The account that evaluator pods run under."""
        await self.client.create(SERVICE_ACCOUNTS, _named("ServiceAccount", self.settings.reporter_service_account))

    def make_operator(self, client: Any = None) -> Reconciler:
        """A fresh operator that knows nothing; it lists on every pass instead of watching."""
        reconciler = compose_reconciler(
            client or self.client, self.settings, time_of_day=lambda: now_utc() + self.time_passed
        )
        reconciler.relist_seconds = 0
        return reconciler

    # People.

    async def submit(self, name: str, *, retries: int = 0, **spec: Any) -> Object:
        """One attempt, unless the test is about more."""
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

    # What is there.

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
        """Waits until the cluster's policies refuse a Job named `odd`, or take it."""
        async with asyncio.timeout(20):
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
        """The name of the evaluation's pod, once its gate is open."""
        return await self._wait_for_open_pod(f"{names.LABEL_EVALUATION}={name}")

    async def wait_for_pod_of_job(self, job: str) -> str:
        """The name of a Job's pod, once its gate is open."""
        return await self._wait_for_open_pod(f"batch.kubernetes.io/job-name={job}")

    async def _wait_for_open_pod(self, selector: str) -> str:
        async with asyncio.timeout(10):
            while True:
                pods = (await self.client.list(PODS, label_selector=selector)).items
                if found := [pod["metadata"]["name"] for pod in pods if not is_gated(pod)]:
                    return str(found[-1])
                await asyncio.sleep(0.02)

    async def create_second_pod(self, name: str) -> str:
        """The Job controller makes a second pod of a Job: the answer to its first try was lost, or a webhook took its
        time.
        """
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
        """The scheduler found a node: from now on only the kubelet, which is us, can end the pod."""
        pod = await self.wait_for_pod(name)
        await self.bind_pod(pod)
        return pod

    async def bind_pod(self, pod: str) -> None:
        """The same of a pod by name."""
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
        """The evaluator container ends."""
        await self.end_pod(await self.wait_for_pod(name), exit_code)

    async def end_pod(self, pod: str, exit_code: int) -> None:
        """The evaluator container of this pod ends."""
        await self.set_pod_status(
            pod,
            phase="Failed" if exit_code else "Succeeded",
            containerStatuses=[build_ended_status(exit_code)],
            reason="",
        )

    async def remove_pod(self, pod: str) -> None:
        """Somebody takes the pod away by force, whatever runs in it; where a Job still holds it, it stays as a deleted
        one.
        """
        arguments = ["-n", self.client.namespace, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false"]
        await asyncio.to_thread(lambda: self._kubectl(*arguments))

    async def publish_scores(self, name: str) -> None:
        """The reporter writes scores for the running attempt."""
        await self._report(name, scores=SCORES, summary="mme 0.5")

    async def report_stage(self, name: str, *, stage: str, updated_at: str) -> None:
        """The reporter writes progress of the running attempt."""
        await self._report(name, progress={"stage": stage, "text": stage, "updatedAt": updated_at})

    async def _report(self, name: str, **said: Any) -> None:
        fields = {"reportedAttempt": (await self.read_status(name))["attempt"], **said}
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
        await self.client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def work_until(operator: Reconciler, condition: Callable[[], Awaitable[bool]], seconds: float = 120) -> None:
    """Lets the operator work until the condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            await operator.work()
            if await condition():
                return
            await asyncio.sleep(0.05)


def is_gated(pod: Object) -> bool:
    """Whether the pod is behind the operator's gate."""
    return {"name": names.SCHEDULING_GATE} in pod["spec"].get("schedulingGates", [])


def build_running_status() -> Object:
    """The evaluator's container status while it runs."""
    return {**_container(), "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}


def build_foreign_status() -> Object:
    """The status of a container that somebody injected, and that ends by itself never."""
    return {**build_running_status(), "name": "foreign", "image": "foreign:1"}


def build_ended_status(exit_code: int, **more: Any) -> Object:
    """The evaluator's container status."""
    ended = {"exitCode": exit_code, "finishedAt": "2026-01-01T00:00:00Z", **more}
    return {**_container(), "state": {"terminated": ended}}


def _container() -> Object:
    return {"name": names.EVALUATOR_CONTAINER, "image": "evaluator:1", "imageID": "", "ready": False, "restartCount": 0}


def _named(kind: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
