"""Retention on a real API server: in time, what has changed stays, and failures are waited out."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api_server_proxy import ApiServerProxy, open_proxy

from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object, Resource
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator.retention import RETRY_SECONDS, Retention

pytestmark = pytest.mark.integration

BY_API = {names.LABEL_CREATED_BY: names.CREATED_BY_API}


def now_utc() -> datetime:
    return datetime.now(UTC)


async def ended(
    client: KubeClient, name: str, *, ago: float = 0, labels: dict[str, str] | None = None, **spec: Any
) -> Object:
    """An evaluation that ended some seconds ago."""
    await created(client, name, labels=labels, **spec)
    return await end(client, name, ago=ago)


async def created(client: KubeClient, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> None:
    metadata = {"name": name, "labels": labels or {}}
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
    await client.create(EVALUATIONS, {**body, "spec": {"model": "llava_hf", "tasks": ["mme"], **spec}})


async def end(client: KubeClient, name: str, *, ago: float = 0, **status: Any) -> Object:
    await write(client, name, {"phase": "Running", "reason": "Starting"})
    fields = {
        "phase": "Completed",
        "reason": "Succeeded",
        "completedAt": format_rfc3339(now_utc() - timedelta(seconds=ago)),
        **status,
    }
    return await write(client, name, fields)


async def write(client: KubeClient, name: str, status: Object) -> Object:
    patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in status.items()]
    return await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def edit(client: KubeClient, name: str, ttl: int | None) -> None:
    path = "/spec/ttlSecondsAfterFinished"
    patch = [{"op": "remove", "path": path} if ttl is None else {"op": "add", "path": path, "value": ttl}]
    await client.json_patch(EVALUATIONS, name, patch)


def seconds_since(completed: Object) -> float:
    """How long ago it ended."""
    return (now_utc() - datetime.fromisoformat(completed["status"]["completedAt"])).total_seconds()


async def there(client: KubeClient) -> set[str]:
    return {item["metadata"]["name"] for item in (await client.list(EVALUATIONS)).items}


async def becomes(client: KubeClient, expected: set[str], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await there(client) == expected:
                return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(
    client: KubeClient, *, max_finished: int = 100, leads: Callable[[], bool] = lambda: True
) -> AsyncIterator[Retention]:
    retention = Retention(client, max_finished=max_finished, time=now_utc, leads=leads)
    task = asyncio.create_task(retention.run())
    try:
        yield retention
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_oldest_of_the_front_end_go_and_nobody_elses(client: transport.Transport) -> None:
    for age in range(5):
        await ended(client, f"api-{age}", ago=100 * age, labels=BY_API)
        await ended(client, f"kubectl-{age}", ago=100 * age)
    theirs = {f"kubectl-{age}" for age in range(5)}
    async with running(client, max_finished=3):
        await becomes(client, theirs | {"api-0", "api-1", "api-2"})
        await ended(client, "api-new", labels=BY_API)
        await becomes(client, theirs | {"api-new", "api-0", "api-1"})


async def test_cancelled_ones_do_not_push_out_results(client: transport.Transport) -> None:
    for age in (1, 2):
        await ended(client, f"done-{age}", ago=1000 * age, labels=BY_API)
        await created(client, f"cancelled-{age}", labels=BY_API)
        at = format_rfc3339(now_utc() - timedelta(seconds=700 * age))
        await write(client, f"cancelled-{age}", {"phase": "Cancelled", "reason": "CancelledByUser", "completedAt": at})
    await created(client, "just-cancelled", labels=BY_API)
    now = {"phase": "Cancelled", "reason": "CancelledByUser", "completedAt": format_rfc3339(now_utc())}
    await write(client, "just-cancelled", now)
    async with running(client, max_finished=2):
        await becomes(client, {"done-1", "done-2", "just-cancelled"})
        await asyncio.sleep(1)
        assert await there(client) == {"done-1", "done-2", "just-cancelled"}


async def test_a_time_to_live_is_kept_to_seconds_even_when_it_is_set_long_after_the_end(
    client: transport.Transport,
) -> None:
    async with running(client):
        taken_back = await ended(client, "taken-back", ttlSecondsAfterFinished=10)
        await edit(client, "taken-back", None)
        short = await ended(client, "short", ttlSecondsAfterFinished=3)
        await ended(client, "long", ttlSecondsAfterFinished=3600)
        await ended(client, "for-ever", ago=10**6)
        await becomes(client, {"long", "taken-back", "for-ever"})
        assert seconds_since(short) >= 3
        await edit(client, "for-ever", 60)
        await becomes(client, {"long", "taken-back"})
        await asyncio.sleep(max(0.0, 11 - seconds_since(taken_back)))
        assert await there(client) == {"long", "taken-back"}


async def test_what_is_kept_stays_and_takes_nobodys_place(client: transport.Transport) -> None:
    await ended(client, "baseline", ago=1000, labels=BY_API, ttlSecondsAfterFinished=0, keep=True)
    for age in range(3):
        await ended(client, f"api-{age}", ago=100 * age, labels=BY_API)
    async with running(client, max_finished=2):
        await becomes(client, {"baseline", "api-0", "api-1"})
        await client.json_patch(EVALUATIONS, "baseline", [{"op": "add", "path": "/spec/keep", "value": False}])
        await becomes(client, {"api-0", "api-1"})


async def test_a_queued_one_has_no_end_to_count_from(client: transport.Transport) -> None:
    await created(client, "queued", ttlSecondsAfterFinished=0)
    async with running(client):
        await asyncio.sleep(1)
        assert await there(client) == {"queued"}
        await end(client, "queued")
        await becomes(client, set())


class Late:
    """A client that does something just before a delete reaches the API server, once."""

    def __init__(self, client: KubeClient, before: Callable[[], Awaitable[None]]) -> None:
        self._client = client
        self._before: Callable[[], Awaitable[None]] | None = before
        self.deletes = 0
        self.tried = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def delete(self, resource: Resource, name: str, **state: str) -> None:
        self.deletes += 1
        if self._before is not None:
            before, self._before = self._before, None
            await before()
        try:
            await self._client.delete(resource, name, **state)
        finally:
            self.tried.set()


async def test_what_was_changed_at_the_last_moment_stays(client: transport.Transport) -> None:
    await ended(client, "a", ago=10, ttlSecondsAfterFinished=5)
    late: Any = Late(client, lambda: edit(client, "a", 3600))
    async with running(late), asyncio.timeout(60):
        await late.tried.wait()
        await asyncio.sleep(RETRY_SECONDS + 2)
        assert (await there(client), late.deletes) == ({"a"}, 1)


async def test_another_one_of_the_same_name_stays(client: transport.Transport) -> None:
    first = await ended(client, "a", ago=10, ttlSecondsAfterFinished=5)

    async def again() -> None:
        await client.delete(EVALUATIONS, "a", uid=first["metadata"]["uid"])
        await ended(client, "a")

    late: Any = Late(client, again)
    async with running(late), asyncio.timeout(60):
        await late.tried.wait()
        await asyncio.sleep(1)
        assert (await client.get(EVALUATIONS, "a"))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_only_the_leader_deletes_and_soon_after_it_was_elected(client: transport.Transport) -> None:
    elected = asyncio.Event()
    async with running(client, leads=elected.is_set):
        await ended(client, "a", ttlSecondsAfterFinished=0)
        await asyncio.sleep(2)
        assert await there(client) == {"a"}
        elected.set()
        await becomes(client, set())


async def test_an_api_server_in_trouble_is_waited_out(
    client: transport.Transport, kubeconfig: str, tmp_path: Path
) -> None:
    async with open_proxy(kubeconfig, tmp_path) as (between, through):
        far = await transport.connect(namespace=client.namespace, kubeconfig=through)
        async with running(far):
            await ended(client, "first", ttlSecondsAfterFinished=0)
            await becomes(client, set())
            for mode in ("500", "cut"):
                between.mode = mode
                await ended(client, mode, ttlSecondsAfterFinished=0)
                await asyncio.sleep(2)
                assert await there(client) == {mode}
                between.mode = "pass"
                await becomes(client, set())
        await far.close()


async def asked(between: ApiServerProxy, requests: int) -> None:
    async with asyncio.timeout(30):
        while True:
            if between.requests >= requests:
                return
            await asyncio.sleep(0.05)


async def test_at_rest_nothing_is_asked(client: transport.Transport, kubeconfig: str, tmp_path: Path) -> None:
    await ended(client, "a", labels=BY_API, ttlSecondsAfterFinished=3600)
    async with open_proxy(kubeconfig, tmp_path) as (between, through):
        far = await transport.connect(namespace=client.namespace, kubeconfig=through)
        async with running(far):
            # Its list, and its watch.
            await asked(between, 2)
            await asyncio.sleep(3)
            assert between.requests == 2
        await far.close()


MEMORY = """
import asyncio, json, os, resource, sys
from datetime import UTC, datetime
from lmms_eval_core.kube import transport
from lmms_eval_operator.retention import RETRY_SECONDS, Retention

async def main():
    client = await transport.connect(namespace=sys.argv[1])
    retention = Retention(client, max_finished=0, time=lambda: datetime.now(UTC))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    running = asyncio.create_task(retention.run())
    await retention._reflector.synced.wait()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, len(retention._known), flush=True)
    running.cancel()

asyncio.run(main())
"""


async def test_many_finished_ones_cost_little_memory(client: transport.Transport, kubeconfig: str) -> None:
    count = 500
    scores = {f"task_{number}": {"acc,none": {"value": number / 7, "stderr": 0.1}} for number in range(60)}

    async def add(number: int) -> None:
        await created(client, f"e-{number}", labels=BY_API)
        await end(client, f"e-{number}", scores=scores)

    for start in range(0, count, 50):
        await asyncio.gather(*map(add, range(start, start + 50)))
    size = len(json.dumps(await client.get(EVALUATIONS, "e-0")))
    command = [sys.executable, "-c", MEMORY, client.namespace]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env={"KUBECONFIG": kubeconfig},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    grown, known = map(int, done.stdout.split())
    assert known == count
    assert grown < 25, f"{grown} MiB for {known} objects of {size} bytes"
