"""GET /tasks with as many names as lmms-eval has, one request after the other. The original takes seconds for each.

The client takes its part of each; how much, the same from the limit (`servers.limit`) says.
"""

import time
from pathlib import Path
from typing import Final

import httpx
from deployment import CommandFailed

from bench.front_end import servers
from bench.front_end.servers import BenchServer
from bench.population import TASKS
from bench.rows import Row, percentile
from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask, TaskKind
from lmms_eval_core.layout import catalogue_file

PATH: Final = "/tasks"
NAMES: Final = 2000
REQUESTS: Final = 500
WAIT_SECONDS: Final = 30.0
TARGET: Final = 1.0
IMAGE: Final = "00"


def store(folder: Path, *, namespace: str) -> dict[str, str]:
    """A store that has such a list, as a front end is pointed to it."""
    tasks = [KnownTask(name=f"some_benchmark_{number:04}", kind=TaskKind.TASK) for number in range(NAMES)]
    tasks += [KnownTask(name=name, kind=TaskKind.TASK) for name in TASKS]
    catalogue = Catalogue(tasks=tasks, models=[KnownModel(name="qwen2_5_vl")])
    file = folder / namespace / catalogue_file(IMAGE)
    file.parent.mkdir(parents=True)
    file.write_text(catalogue.to_json())
    return {"LMMS_EVAL_STORE_URL": f"file://{folder}", "LMMS_EVAL_CATALOGUE": IMAGE, "LMMS_EVAL_API_SWEEP": "false"}


def measure(ours: BenchServer) -> list[Row]:
    """Half of the answers come sooner, and half later."""
    with _client(ours) as http:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(http.get(PATH).raise_for_status().json()["tasks"]) < NAMES:
            if time.monotonic() > deadline:
                raise CommandFailed(f"{ours.url}{PATH} has no list; see the front end's log")
            time.sleep(0.1)
    with servers.limit(ours, [PATH]) as limit, _client(ours) as asked, _client(limit) as bare:
        # In turns, as everything that is compared.
        took, least = zip(*((_milliseconds(asked), _milliseconds(bare)) for _ in range(REQUESTS)), strict=True)
    floor = f"a bare uvicorn application: {percentile(least, 0.5):.2f} ms"
    return [Row(f"GET {PATH}, {NAMES} names, p50", percentile(took, 0.5), "ms", TARGET, floor)]


def _client(server: BenchServer) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers=server.headers, trust_env=False)


def _milliseconds(http: httpx.Client) -> float:
    started = time.perf_counter()
    http.get(PATH).raise_for_status()
    return (time.perf_counter() - started) * 1000
