"""GET /tasks with as many names as lmms-eval has, one request after the other. The original takes seconds for each."""

import time
from pathlib import Path
from typing import Final

import httpx
from deployment import CommandFailed

from bench.front_end.servers import Server
from bench.population import TASKS
from bench.rows import Row, percentile
from lmms_eval_core.catalogue import Catalogue, KnownModel, KnownTask, TaskKind
from lmms_eval_core.layout import catalogue_file

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


def measure(ours: Server) -> list[Row]:
    """Half of the answers come sooner, and half later."""
    with httpx.Client(base_url=ours.url, headers=ours.headers, trust_env=False) as http:
        deadline = time.monotonic() + WAIT_SECONDS
        while len(http.get("/tasks").raise_for_status().json()["tasks"]) < NAMES:
            if time.monotonic() > deadline:
                raise CommandFailed(f"{ours.url}/tasks has no list; see the front end's log")
            time.sleep(0.1)
        took = [_milliseconds(http) for _ in range(REQUESTS)]
    return [Row(f"GET /tasks, {NAMES} names, p50", percentile(took, 0.5), "ms", TARGET)]


def _milliseconds(http: httpx.Client) -> float:
    started = time.perf_counter()
    http.get("/tasks").raise_for_status()
    return (time.perf_counter() - started) * 1000
