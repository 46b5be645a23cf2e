"""Minutes of what a busy day asks, at a fixed pace whatever the answers take: the slowest hundredth,
and every error.
"""

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import httpx

from bench.front_end.servers import BenchServer
from bench.front_end.submissions import BODY
from bench.rows import Row, percentile

# For as many jobs as there may be; and to see how it grows with them.
SECONDS: Final = float(os.environ.get("LMMS_EVAL_BENCH_MIXED_SECONDS", "300"))
SHORT_SECONDS: Final = 60.0
PER_SECOND: Final = 100
SEED: Final = 7
SHARES: Final = {"GET /jobs/{id}": 80, "GET /queue": 4, "GET /jobs": 6, "POST /evaluate": 8, "DELETE /jobs/{id}": 2}


async def measure(size: int, server: BenchServer, jobs: Sequence[str], *, seconds: float) -> list[Row]:
    """The jobs are what is asked for; new ones are submitted, and cancelled again."""
    load = _Load(server, jobs)
    await load.run(seconds)
    found = [
        Row(
            f"{size} queued, mixed load: {kind}, p99 of {len(load.times[kind])}",
            percentile(load.times[kind], 0.99) * 1000,
            "ms",
        )
        for kind in SHARES
    ]
    return [
        *found,
        Row(f"{size} queued, mixed load: errors in {seconds:.0f} s at {PER_SECOND}/s", float(load.errors), "", 0.0),
    ]


class _Load:
    def __init__(self, server: BenchServer, jobs: Sequence[str]) -> None:
        self._server, self._jobs = server, jobs
        self._random = random.Random(SEED)
        self._submitted: list[str] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors = 0

    async def run(self, seconds: float) -> None:
        """Sends each request at its time, however many are still open."""
        began = time.monotonic()
        async with self._server.client() as http, asyncio.TaskGroup() as group:
            for number in range(int(seconds * PER_SECOND)):
                due = began + number / PER_SECOND
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                kind = self._random.choices(list(SHARES), list(SHARES.values()))[0]
                group.create_task(self._one(http, kind, due))

    async def _one(self, http: httpx.AsyncClient, kind: str, due: float) -> None:
        try:
            answer = await self._send(http, kind)
            self.errors += not answer.is_success
        except httpx.HTTPError:
            self.errors += 1
        # From when it was due: a server that holds one up holds up what is behind it.
        self.times[kind].append(time.monotonic() - due)

    async def _send(self, http: httpx.AsyncClient, kind: str) -> httpx.Response:
        if kind == "POST /evaluate" or (kind == "DELETE /jobs/{id}" and not self._submitted):
            answer = await http.post("/evaluate", json=BODY)
            self._submitted.append(answer.json()["job_id"])
            return answer
        if kind == "DELETE /jobs/{id}":
            return await http.delete(f"/jobs/{self._submitted.pop()}")
        return await http.get(kind.split(" ")[1].replace("{id}", self._random.choice(self._jobs)))
