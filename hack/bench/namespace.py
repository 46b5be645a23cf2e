"""One namespace with a queue, and the parts of the cluster that the benchmark plays in it: reporter and kubelet.

There is no node. The end of a pod is one write to its status, as the kubelet's is, so nothing stands between what
is measured and its cause; a simulated node would add a process with delays of its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from bench.latency import Seen, opened, pod_ended
from bench.population import published, service_account
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


class Namespace:
    """See above. `reports` counts the writes to evaluations that are its own; `swaps` those to the slot, which it only sees."""

    def __init__(self, client: transport.Transport) -> None:
        self.client = client
        self.claims = Seen(client, LEASES, self._claimed)
        self.created = Seen(client, JOBS, lambda job: True)
        self.starts = Seen(client, PODS, opened)
        self.pods = Seen(client, PODS, lambda pod: True)
        self.ends = Seen(client, PODS, pod_ended)
        self.reports = 0
        self.swaps = 0

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Sees what happens in the namespace for as long as the block lasts."""
        watched = (self.claims, self.created, self.starts, self.pods, self.ends)
        watches = [asyncio.create_task(seen.run()) for seen in watched]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()

    async def prepare(self) -> None:
        """The account that evaluator pods run under."""
        await self.client.create(SERVICE_ACCOUNTS, service_account())

    async def runs(self, name: str) -> None:
        """Scheduler and kubelet have started the pod; the reporter tells every stage, each of which the operator reports."""
        pod = await self._pod(name)
        target = {"kind": "Node", "name": "a-node"}
        await self.client.create(BINDINGS, {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target})
        container = {"name": names.EVALUATOR_CONTAINER, "image": "evaluator:1", "imageID": "", "ready": True, "restartCount": 0}
        running = {**container, "state": {"running": {"startedAt": format_rfc3339(now_utc())}}}
        await self._patch(PODS, pod, {"phase": "Running", "containerStatuses": [running]})
        for stage in STAGES:
            progress = {"stage": stage, "text": stage, "updatedAt": format_rfc3339(now_utc())}
            await self._report(name, {"reportedAttempt": 1, "progress": progress})
            await self._shows(name, stage)

    async def publishes(self, name: str) -> None:
        """The reporter has written everything."""
        await self._pod(name)
        await self._report(name, published(name))

    async def new_pod(self, name: str) -> Pod:
        """The pod of an evaluation's attempt, once the Job controller has made it."""
        pod = objects.parse_pod(await self.client.get(PODS, await self._pod(name)))
        assert pod is not None
        return pod

    async def ends_well(self, name: str) -> None:
        """The kubelet tells that the pod is over."""
        await self._patch(PODS, await self._pod(name), {"phase": "Succeeded"})

    async def events(self, component: str) -> int:
        """How many events a component has written here."""
        items = (await self.client.list(EVENTS)).items
        return sum(item.get("count") or 1 for item in items if (item.get("source") or {}).get("component") == component)

    def _claimed(self, lease: Object) -> bool:
        slot = lease["metadata"]["name"] == SLOT
        self.swaps += slot
        return slot and bool(lease["spec"].get("holderIdentity"))

    async def _pod(self, name: str) -> str:
        await self.pods.of(name)
        selector = f"{names.LABEL_EVALUATION}={name}"
        return str((await self.client.list(PODS, label_selector=selector)).items[0]["metadata"]["name"])

    async def _shows(self, name: str, reason: str) -> None:
        """Waits until the operator has taken notice."""
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
