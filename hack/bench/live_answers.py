"""The front end over a run that has given a million answers, in a real S3 server: the first page, all of them as a
stream, its memory, and how soon it answers its probe meanwhile.
"""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import httpx
from deployment import CommandFailed, Kubectl

from bench.front_end import servers
from bench.front_end.servers import BenchServer
from bench.journal_memory import CHUNK, TASK, store_journal
from bench.population import create_running, open_namespace
from bench.rows import Row
from lmms_eval_core.kube import transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

# In the first of two attempts: those of the second are compared with all of them.
ANSWERS: Final = 1_000_000
NAMESPACE, NAME = "bench-live-answers", "answers"
PATH: Final = f"/jobs/{NAME}/samples/{TASK}"
# The limit that the chart gives to the front end.
LIMIT_MIB: Final = 512.0
PAGE_SECONDS, PROBE_MILLISECONDS = 1.0, 100.0
PROBE_SECONDS: Final = 0.02
WAIT_SECONDS: Final = 30.0


class Strain(NamedTuple):
    """What was seen while all answers were read: the slowest probe in seconds, and the most memory of all processes."""

    probe: float
    mib: float


async def measure(kubectl: Kubectl, store: Mapping[str, str]) -> list[Row]:
    """The rows; `store` is the environment of the S3 server."""
    async with open_namespace(kubectl, NAMESPACE) as client:
        with tempfile.TemporaryDirectory() as folder:
            await _fill(client, ObjectStore(StoreSettings.from_environment(store)), Path(folder))
        settings = {**store, "LMMS_EVAL_API_SWEEP": "false"}
        with servers.ours(kubeconfig=kubectl.kubeconfig, namespace=NAMESPACE, **settings) as server:
            return await asyncio.to_thread(_measure, server)


def _measure(server: BenchServer) -> list[Row]:
    page = _time_first_page(server)
    began = time.monotonic()
    # A process of its own: reading a million lines must not delay the probes that are measured.
    with ProcessPoolExecutor(1) as pool:
        reading = pool.submit(_count_lines, server.url + PATH, dict(server.headers))
        strain = _probe_until(reading, server)
    seconds = time.monotonic() - began
    if reading.result() != ANSWERS + CHUNK:
        raise CommandFailed(f"the front end has streamed {reading.result()} answers of {ANSWERS + CHUNK}")
    name = f"front end, {ANSWERS:,} answers"
    return [
        Row(f"{name}: first page", page, "s", PAGE_SECONDS),
        Row(f"{name}: slowest probe while all are read", 1000 * strain.probe, "ms", PROBE_MILLISECONDS),
        Row(f"{name}: memory at its highest", strain.mib, "MiB", LIMIT_MIB),
        Row(f"{name}: all of them as a stream", seconds, "s"),
    ]


def _time_first_page(server: BenchServer) -> float:
    with httpx.Client(base_url=server.url, headers=server.headers, trust_env=False, timeout=60) as http:
        deadline = time.monotonic() + WAIT_SECONDS
        while not http.get(f"/jobs/{NAME}").is_success and time.monotonic() < deadline:
            time.sleep(0.1)
        began = time.perf_counter()
        answer = http.get(PATH, params={"live": "true"}).raise_for_status()
        took = time.perf_counter() - began
    if len(answer.json()["samples"]) != 50:
        raise CommandFailed(f"the first page is not whole: {answer.text[:500]}")
    return took


def _count_lines(url: str, headers: dict[str, str]) -> int:
    lines, accept = 0, {"Accept": "application/x-ndjson"}
    with httpx.stream(
        "GET", url, params={"live": "true"}, headers=headers | accept, timeout=60, trust_env=False
    ) as page:
        page.raise_for_status()
        for content in page.iter_raw():
            lines += content.count(b"\n")
    return lines


def _probe_until(reading: "Future[int]", server: BenchServer) -> Strain:
    slowest = workers = 0.0
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        while not reading.done():
            began = time.perf_counter()
            http.get("/livez").raise_for_status()
            slowest = max(slowest, time.perf_counter() - began)
            workers = max(workers, server.process.children_peak_mib())
            time.sleep(PROBE_SECONDS)
    return Strain(slowest, server.process.peak_mib() + workers)


async def _fill(client: transport.Transport, store: ObjectStore, folder: Path) -> None:
    uid = await create_running(client, NAME, task=TASK, attempt=2)
    prefix = ArtifactPrefix(NAMESPACE, NAME, uid, 1)
    await store_journal(store, prefix, folder / "1", ANSWERS)
    await store_journal(store, prefix._replace(attempt=2), folder / "2", CHUNK, first=ANSWERS)
