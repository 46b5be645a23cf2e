"""The client on a real API server."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import aiohttp
import pytest

from lmms_eval_core import names
from lmms_eval_core.kube import errors, lease, transport
from lmms_eval_core.kube.client import EVALUATIONS, LEASES, Object, WatchEvent
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.kube.transport import Transport

pytestmark = pytest.mark.integration


def evaluation(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": {"model": "llava_hf", "tasks": ["mme"], **spec},
    }


async def test_a_new_evaluation_is_queued_without_anybody_writing_it(client: Transport) -> None:
    created = await client.create(EVALUATIONS, evaluation("a"))
    assert created["status"] == {"phase": "Queued", "reason": "WaitingForTurn"}
    page = await client.list(EVALUATIONS, field_selector="status.phase=Queued")
    assert [item["metadata"]["name"] for item in page.items] == ["a"]


async def test_errors_say_what_happened(client: Transport) -> None:
    with pytest.raises(errors.NotFound):
        await client.get(EVALUATIONS, "nothing")
    created = await client.create(EVALUATIONS, evaluation("a"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(EVALUATIONS, evaluation("a"))
    with pytest.raises(errors.Invalid, match=r"spec\.tasks"):
        await client.create(EVALUATIONS, evaluation("b", tasks=[]))
    with pytest.raises(errors.Invalid, match="unknown field"):
        await client.create(EVALUATIONS, evaluation("b", taks=["x"]))
    with pytest.raises(errors.Conflict):
        await client.delete(EVALUATIONS, "a", uid="0f4c6a1e-9d3b-4c2f-8a57-1c2d3e4f5a6b")
    await client.delete(EVALUATIONS, "a", uid=created["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await client.get(EVALUATIONS, "a")


async def test_a_state_that_changed_is_not_deleted(client: Transport) -> None:
    looked_at = (await client.create(EVALUATIONS, evaluation("a")))["metadata"]
    newer = await client.json_patch(
        EVALUATIONS, "a", [{"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 5}]
    )
    state = {"uid": looked_at["uid"], "resource_version": looked_at["resourceVersion"]}
    with pytest.raises(errors.Conflict):
        await client.delete(EVALUATIONS, "a", **state)
    await client.delete(EVALUATIONS, "a", **state | {"resource_version": newer["metadata"]["resourceVersion"]})
    assert (await client.list(EVALUATIONS)).items == []


async def test_a_failed_test_operation_is_a_conflict_and_a_refused_value_is_not(client: Transport) -> None:
    await client.create(EVALUATIONS, evaluation("a"))
    stale = [
        {"op": "test", "path": "/status/phase", "value": "Running"},
        {"op": "add", "path": "/status/message", "value": "x"},
    ]
    with pytest.raises(errors.Conflict):
        await client.json_patch(EVALUATIONS, "a", stale, subresource="status")
    with pytest.raises(errors.Invalid, match="phase"):
        await client.json_patch(
            EVALUATIONS, "a", [{"op": "add", "path": "/status/phase", "value": "Odd"}], subresource="status"
        )


async def test_replacing_an_old_version_is_a_conflict(client: Transport) -> None:
    old = await client.create(EVALUATIONS, evaluation("a"))
    await client.json_patch(EVALUATIONS, "a", [{"op": "add", "path": "/spec/priority", "value": 5}])
    with pytest.raises(errors.Conflict):
        await client.replace(EVALUATIONS, old)


async def test_a_lease_is_taken_once(client: Transport) -> None:
    first = await lease.read(client, "slot", {})
    second = await lease.read(client, "slot", {})
    assert first.free
    held = await lease.swap(client, first, "a/1")
    with pytest.raises(errors.Conflict):
        await lease.swap(client, second, "b/1")
    assert (await lease.read(client, "slot", {})).holder == "a/1"
    again = await lease.swap(client, held, "a/1")
    with pytest.raises(errors.Conflict):
        await lease.swap(client, held, "")
    assert (await lease.swap(client, again, "")).free


class Names:
    """A mirror that keeps names."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.changed = asyncio.Event()

    def replace(self, items: list[Object]) -> None:
        self.names = {item["metadata"]["name"] for item in items}
        self.changed.set()

    def update(self, item: Object) -> None:
        self.names.add(item["metadata"]["name"])
        self.changed.set()

    def remove(self, item: Object) -> None:
        self.names.discard(item["metadata"]["name"])
        self.changed.set()

    async def become(self, expected: set[str]) -> None:
        async with asyncio.timeout(60):
            while self.names != expected:
                self.changed.clear()
                await self.changed.wait()


@pytest.mark.parametrize("shares", [(), ("metadata.name=d", "metadata.name!=d")])
async def test_pages_are_the_whole_list_of_one_moment(
    client: Transport, monkeypatch: pytest.MonkeyPatch, shares: tuple[str, ...]
) -> None:
    monkeypatch.setattr(transport, "PAGE", 4)
    names = list("abcdefghijk")
    for name in names:
        await lease.read(client, name, {})
    assert [item["metadata"]["name"] for item in (await client.list(LEASES)).items] == names
    pages: list[str] = []
    versions: set[str] = set()
    async for page in client.pages(LEASES, shares=shares):
        pages.append("".join(item["metadata"]["name"] for item in page.items))
        if not versions:
            # Younger than the list.
            await lease.read(client, "late", {})
        versions.add(page.resource_version)
    assert (sorted("".join(pages)), len(versions)) == (names, 1)
    # Shares come in any order.
    assert shares or pages == ["abcd", "efgh", "ijk"]


async def test_the_reflector_mirrors_what_is_there_and_what_happens(client: Transport) -> None:
    before = await lease.read(client, "before", {})
    mirror = Names()
    reflector = Reflector(client, LEASES, mirror, lambda lease: lease)
    running = asyncio.create_task(reflector.run())
    try:
        await mirror.become({"before"})
        await lease.read(client, "after", {})
        await mirror.become({"before", "after"})
        created = await client.get(LEASES, before.name)
        await client.delete(LEASES, before.name, uid=created["metadata"]["uid"])
        await mirror.become({"after"})
        assert reflector.synced.is_set() and reflector.age() < 30
    finally:
        running.cancel()


async def test_a_quiet_stream_asks_whether_its_other_end_is_there(
    kubeconfig: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is gone says nothing; the kernel then ends the connection."""
    made: list[socket.socket] = []
    probed = transport._open_probed_socket

    def noted(address: aiohttp.AddrInfoType) -> socket.socket:
        made.append(probed(address))
        return made[-1]

    monkeypatch.setattr(transport, "_open_probed_socket", noted)
    client = await transport.connect(namespace=namespace, kubeconfig=kubeconfig)
    page = await client.list(LEASES)
    await lease.read(client, "slot", {})
    watch = cast(AsyncGenerator[WatchEvent], client.watch(LEASES, resource_version=page.resource_version))
    async with aclosing(watch):
        assert (await anext(watch)).object["metadata"]["name"] == "slot"
        (stream,) = made
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [stream.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [5, 5, 3, 20_000]
    await client.close()
