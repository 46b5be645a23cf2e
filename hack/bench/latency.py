"""How long the parts take to react: a submission until its Job is there, the end of a run until the
next pod may start.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
from deployment import Deployment

from bench.overhead import MODEL_ARGS, SMOKE
from bench.rows import Row, percentile
from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, Object, Resource

SUBMISSIONS = 50
HAND_OFFS = 5
BODY: dict[str, Any] = {
    "model": "llava_hf",
    "model_args": MODEL_ARGS,
    "tasks": ["smoke_vqa"],
    "include_path": f"{SMOKE}/tasks",
    "limit": 1,
}


class StateWatch:
    """A watch that records when each object was first seen in a wanted state."""

    def __init__(self, client: transport.Transport, resource: Resource, wanted: Callable[[Object], bool]) -> None:
        self._client, self._resource, self._wanted = client, resource, wanted
        self.at: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Watches until cancelled."""
        version = (await self._client.list(self._resource)).resource_version
        while True:
            async for event in self._client.watch(self._resource, resource_version=version):
                version = event.object["metadata"]["resourceVersion"]
                if event.type in ("ADDED", "MODIFIED") and self._wanted(event.object):
                    metadata = event.object["metadata"]
                    key = metadata.get("labels", {}).get(names.LABEL_EVALUATION, metadata["name"])
                    self.at.setdefault(key, time.monotonic())
                    self._changed.set()

    async def wait_for(self, name: str) -> float:
        """Wait until `name` was seen so; return when."""
        await self._wait_until(lambda: name in self.at)
        return self.at[name]

    async def wait_for_nth(self, number: int) -> str:
        """Wait for the `number`th (from 1) that was seen so; return its name."""
        await self._wait_until(lambda: len(self.at) >= number)
        return list(self.at)[number - 1]

    async def _wait_until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(300):
            while not true():
                self._changed.clear()
                await self._changed.wait()


def is_terminal(item: Object) -> bool:
    """Whether an evaluation has ended."""
    return item["status"]["phase"] in ("Completed", "Failed", "Cancelled")


def has_pod_ended(pod: Object) -> bool:
    """Whether nothing of a pod runs any more."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_gate_open(pod: Object) -> bool:
    """Whether the pod's gate is open."""
    return {"name": names.SCHEDULING_GATE} not in pod["spec"].get("schedulingGates", [])


async def measure_submissions(http: httpx.AsyncClient, client: transport.Transport) -> list[Row]:
    """POST /evaluate until the Job exists, each on an empty queue."""
    jobs, ends = StateWatch(client, JOBS, lambda job: True), StateWatch(client, EVALUATIONS, is_terminal)
    watches = [asyncio.create_task(seen.run()) for seen in (jobs, ends)]
    await asyncio.sleep(1)
    seconds = []
    for _ in range(SUBMISSIONS):
        began = time.monotonic()
        name = (await http.post("/evaluate", json=BODY)).raise_for_status().json()["job_id"]
        seconds.append(await jobs.wait_for(name) - began)
        (await http.delete(f"/jobs/{name}")).raise_for_status()
        await ends.wait_for(name)
    for watch in watches:
        watch.cancel()
    return [
        Row(f"POST /evaluate to Job created, p50 of {SUBMISSIONS}", percentile(seconds, 0.5) * 1000, "ms"),
        Row(f"POST /evaluate to Job created, p99 of {SUBMISSIONS}", percentile(seconds, 0.99) * 1000, "ms"),
    ]


async def measure_hand_offs(http: httpx.AsyncClient, client: transport.Transport) -> list[Row]:
    """Pod of one evaluation terminal until the gate of the next one's pod is open."""
    ends, starts_of = StateWatch(client, PODS, has_pod_ended), StateWatch(client, PODS, is_gate_open)
    watches = [asyncio.create_task(seen.run()) for seen in (ends, starts_of)]
    await asyncio.sleep(1)
    queue = [
        (await http.post("/evaluate", json=BODY)).raise_for_status().json()["job_id"] for _ in range(HAND_OFFS + 1)
    ]
    starts = [await starts_of.wait_for(name) for name in queue]
    order = [name for _, name in sorted(zip(starts, queue, strict=True))]
    seconds = [
        await starts_of.wait_for(later) - await ends.wait_for(earlier)
        for earlier, later in zip(order, order[1:], strict=False)
    ]
    await http.delete(f"/jobs/{order[-1]}")
    for watch in watches:
        watch.cancel()
    return [
        Row(
            f"pod of one terminal to gate of the next opened, p50 of {HAND_OFFS}", percentile(seconds, 0.5) * 1000, "ms"
        )
    ]


async def _measure(release: Deployment, url: str) -> list[Row]:
    client = await transport.connect(namespace=release.namespace, kubeconfig=release.kubectl.kubeconfig)
    headers = {"Authorization": f"Bearer {release.token()}"}
    try:
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            return [*await measure_submissions(http, client), *await measure_hand_offs(http, client)]
    finally:
        await client.close()


def measure(release: Deployment) -> list[Row]:
    """All rows of this file."""
    with release.port_forward(f"{release.release}-api", 80) as url:
        return asyncio.run(_measure(release, url))
