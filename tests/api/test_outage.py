"""The API server goes away and comes back, behind a relay that the test can cut; the front end is a process, as in a
pod.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from api_server_proxy import open_proxy
from front_end_fixtures import TOKEN, StartFrontEnd
from plain_http import NO_TLS
from ports import find_free_port

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.identity import NameTaken
from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.wire import EvaluateRequest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = {"model": "llava_hf", "tasks": ["mme"]}


class Relay:
    """TCP to the API server, on a loopback port that stays the same.

    `cut` resets every connection and takes no new one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = find_free_port()
        self.connections = 0

    async def join(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._writers -= {writer, far_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def address(kubeconfig: str) -> tuple[str, int]:
    server = urlsplit(yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"])
    return server.hostname or "", server.port or 443


@pytest.fixture
async def relay(kubeconfig: str) -> AsyncIterator[Relay]:
    relay = Relay(*address(kubeconfig))
    await relay.join()
    yield relay
    await relay.cut()


@pytest.fixture
def relayed_kubeconfig(kubeconfig: str, relay: Relay, tmp_path: Path) -> str:
    """The same cluster, through the relay."""
    config: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
    cluster = config["clusters"][0]["cluster"]
    cluster["tls-server-name"] = address(kubeconfig)[0]
    cluster["server"] = f"https://127.0.0.1:{relay.port}"
    path = tmp_path / "relayed"
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def until(session: httpx.AsyncClient, path: str, status: int) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        answer = await session.get(path)
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.05)


async def test_a_lost_api_server(
    start_front_end: StartFrontEnd, relay: Relay, relayed_kubeconfig: str, kubeconfig: str, namespace: str
) -> None:
    front_end = start_front_end(KUBECONFIG=relayed_kubeconfig, LMMS_EVAL_API_MAX_STALE_SECONDS="2")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        base_url=front_end.url, headers=headers, timeout=60, trust_env=False, verify=NO_TLS
    ) as session:
        await asyncio.to_thread(front_end.wait_until_ready)
        sent = (await session.post("/evaluate", json=REQUEST)).json()
        path = f"/jobs/{sent['job_id']}"
        await relay.cut()

        shown = await session.get(path)
        assert (shown.status_code, shown.json()["status"], int(shown.headers["Age"]) < 2) == (200, "queued", True)
        refused = await session.post("/evaluate", json=REQUEST)
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        lost = await until(session, path, 503)
        assert "lost sight" in lost.json()["detail"]
        assert (await session.get("/livez")).status_code == 200
        assert (await session.get("/readyz")).status_code == 503

        # Meanwhile, somebody else goes on.
        other = await transport.connect(namespace=namespace, kubeconfig=kubeconfig)
        await other.json_patch(EVALUATIONS, sent["job_id"], [{"op": "add", "path": "/spec/cancel", "value": True}])
        await other.close()
        await relay.join()
        back = await until(session, path, 200)
        assert (back.json()["status"], back.headers["Age"]) == ("cancelled", "0")
        assert (await session.post("/evaluate", json=REQUEST)).status_code == 200
    assert front_end.stop() == 0


async def test_an_api_server_that_hangs_is_found_lost_and_found_again(
    kubeconfig: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel goes on to acknowledge what is sent, so that nothing but silence tells."""
    monkeypatch.setattr(transport, "WATCH_IDLE_SECONDS", 1.0)
    async with open_proxy(kubeconfig, tmp_path) as (between, through):
        client = await transport.connect(namespace=namespace, kubeconfig=through, request_seconds=1.0)
        cache = JobCache()
        reflector = Reflector(client, EVALUATIONS, cache, cache.project)
        watching = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        between.going.clear()
        assert await becomes(lambda: reflector.lost_for() > 0), "still believed"
        assert reflector.stale_for() >= 1.0
        # One that goes on hanging takes no more than the time of a request from each try.
        before = between.requests
        assert await becomes(lambda: between.requests > before), "given up"
        between.going.set()
        assert await becomes(lambda: reflector.lost_for() == 0), "not found again"
        watching.cancel()
        await client.close()


async def becomes(true: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if true():
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("name", [None, "baseline"])
async def test_an_answer_that_was_lost_on_its_way_makes_no_second_job(
    relay: Relay, relayed_kubeconfig: str, namespace: str, client: transport.Transport, name: str | None
) -> None:
    relayed = await transport.connect(namespace=namespace, kubeconfig=relayed_kubeconfig)
    evaluations = EvaluationService(relayed, JobCache(), new_id=lambda: "the-only-one")
    request = EvaluateRequest.model_validate(REQUEST | {"name": name})
    # As if the first try had been stored, and its answer lost.
    await EvaluationService(client, JobCache(), new_id=lambda: "the-only-one").submit(request, caller="me")
    await relay.cut()
    asked = asyncio.create_task(evaluations.submit(request, caller="me"))
    await asyncio.sleep(0.1)
    await relay.join()
    assert (await asked).job.name == (name or "the-only-one")
    assert len((await client.list(EVALUATIONS)).items) == 1
    await relayed.close()


async def test_a_name_that_was_taken_meanwhile_is_no_answer_that_was_lost(client: transport.Transport) -> None:
    request = EvaluateRequest.model_validate(REQUEST | {"name": "baseline"})
    await EvaluationService(client, JobCache()).submit(request, caller="you")
    with pytest.raises(NameTaken):
        await EvaluationService(client, JobCache()).submit(request, caller="me")


async def test_many_who_ask_for_one_unknown_job_are_one_request(
    client: transport.Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations = EvaluationService(client, JobCache())
    asked: list[str] = []
    get = client.get

    async def counted(resource: Any, name: str) -> dict[str, Any]:
        asked.append(name)
        return await get(resource, name)

    monkeypatch.setattr(client, "get", counted)
    assert await asyncio.gather(*(evaluations.find("missing") for _ in range(50))) == [None] * 50
    assert await evaluations.find("missing") is None
    assert asked == ["missing"]
    await client.create(
        EVALUATIONS,
        {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "here"}, "spec": REQUEST},
    )
    found = await asyncio.gather(*(evaluations.find("here") for _ in range(50)))
    assert {job.name for job in found if job} == {"here"}
    assert asked == ["missing", "here"]
