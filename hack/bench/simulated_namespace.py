"""One namespace with a queue, and the parts of the cluster that the benchmark plays in it: reporter and kubelet.

There is no node. The end of a pod is one write to its status, as the kubelet's is, so nothing stands between what
is measured and its cause; a simulated node would add a process with delays of its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from bench.latency import StateWatch, has_pod_ended, is_gate_open
from bench.population import build_published_status, build_service_account
from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, EVENTS, JOBS, LEASES, PODS, Object, Resource
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator import objects
from lmms_eval_operator.main import now_utc
from lmms_eval_operator.objects import Pod

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
BINDINGS = Resource("", "v1", "bindings")
SLOT = names.slot_lease_name(0)
STAGES = ("LoadingModel", "Evaluating", "Scoring", "Publishing")
PERIOD_SECONDS = 0.02


class SimulatedNamespace:
    """The namespace.

    `reports` counts its own writes to evaluations; `swaps` the writes to the slot, which it only sees.
    """

    def __init__(self, client: transport.Transport) -> None:
        self.client = client
        self.claims = StateWatch(client, LEASES, self._is_claim)
        self.created = StateWatch(client, JOBS, lambda job: True)
        self.starts = StateWatch(client, PODS, is_gate_open)
        self.pods = StateWatch(client, PODS, lambda pod: True)
        self.ends = StateWatch(client, PODS, has_pod_ended)
        self.reports = 0
        self.swaps = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the namespace for as long as the block lasts."""
        watched = (self.claims, self.created, self.starts, self.pods, self.ends)
        watches = [asyncio.create_task(seen.run()) for seen in watched]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()

    async def prepare(self) -> None:
        """Create the account that evaluator pods run under."""
        await self.client.create(SERVICE_ACCOUNTS, build_service_account())

    async def run_pod(self, name: str) -> None:
        """Start the pod as scheduler and kubelet do; write every stage as the reporter does, and wait until it is
        shown.
        """
        pod = await self._find_pod(name)
        target = {"kind": "Node", "name": "a-node"}
        await self.client.create(
            BINDINGS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        )
        container = {
            "name": names.EVALUATOR_CONTAINER,
            "image": "evaluator:1",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
        }
        running = {**container, "state": {"running": {"startedAt": format_rfc3339(now_utc())}}}
        await self._patch(PODS, pod, {"phase": "Running", "containerStatuses": [running]})
        for stage in STAGES:
            progress = {"stage": stage, "text": stage, "updatedAt": format_rfc3339(now_utc())}
            await self._report(name, {"reportedAttempt": 1, "progress": progress})
            await self._wait_until_shown(name, stage)

    async def publish(self, name: str) -> None:
        """Write everything that the reporter writes."""
        await self._find_pod(name)
        await self._report(name, build_published_status(name))

    async def read_pod(self, name: str) -> Pod:
        """Return the pod of an evaluation's attempt, once the Job controller has made it."""
        pod = objects.parse_pod(await self.client.get(PODS, await self._find_pod(name)))
        assert pod is not None
        return pod

    async def end_pod(self, name: str) -> None:
        """End the pod as the kubelet does."""
        await self._patch(PODS, await self._find_pod(name), {"phase": "Succeeded"})

    async def count_events(self, component: str) -> int:
        """Return how many events a component has written here."""
        items = (await self.client.list(EVENTS)).items
        return sum(item.get("count") or 1 for item in items if (item.get("source") or {}).get("component") == component)

    def _is_claim(self, lease: Object) -> bool:
        slot = lease["metadata"]["name"] == SLOT
        self.swaps += slot
        return slot and bool(lease["spec"].get("holderIdentity"))

    async def _find_pod(self, name: str) -> str:
        await self.pods.wait_for(name)
        selector = f"{names.LABEL_EVALUATION}={name}"
        return str((await self.client.list(PODS, label_selector=selector)).items[0]["metadata"]["name"])

    async def _wait_until_shown(self, name: str, reason: str) -> None:
        """Wait until the status shows the reason."""
        async with asyncio.timeout(60):
            while True:
                if (await self.client.get(EVALUATIONS, name))["status"]["reason"] == reason:
                    return
                await asyncio.sleep(PERIOD_SECONDS)

    async def _report(self, name: str, status: Object) -> None:
        self.reports += 1
        await self._patch(EVALUATIONS, name, status)

    async def _patch(self, resource: Resource, name: str, status: Object) -> None:
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
        await self.client.json_patch(resource, name, patch, subresource="status")
