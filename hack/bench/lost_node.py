"""What is lost with a node: reporters and the runs beside them, killed together at random moments, on a real API server
and a real S3 server. What the runs had answered by then is compared with what the store has.
"""

import asyncio
import contextlib
import os
import random
import struct
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from deployment import ROOT, CommandFailed, Kubectl

from bench.journal_writer import NAME, TIMES
from bench.population import create_running, open_namespace
from bench.rows import Row
from lmms_eval_core.journal import MAX_JOURNAL_BYTES, ChunkLine, parse_journal_line
from lmms_eval_core.kube import transport
from lmms_eval_core.layout import ArtifactPrefix, journal_segment
from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY
from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_core.store.compression import zstd
from lmms_eval_core.store.errors import ObjectMissing
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.probe import READY_FILE
from lmms_eval_reporter.settings import Settings
from lmms_eval_runner.journal.chunk_size import TARGET_SECONDS

NODES: Final = 12
NAMESPACE: Final = "bench-lost-node"
START_REPORTER: Final = "from lmms_eval_reporter.start import start; start()"
# After the first answer; so that each phase of the interval is met.
EARLIEST, LATEST = 12.0, 32.0
WAIT_SECONDS: Final = 60.0
# What an upload takes, and a chunk more than its second.
ALLOWED_SECONDS: Final = 0.5


class LostNode(NamedTuple):
    """How many answers were computed when the node was lost, how many are in the store, and the time since the last of
    those.
    """

    computed: int
    kept: int
    seconds: float


async def measure(kubectl: Kubectl, store: Mapping[str, str]) -> list[Row]:
    """The rows; `store` is the environment of the S3 server."""
    async with open_namespace(kubectl, NAMESPACE) as client:
        with tempfile.TemporaryDirectory() as folder:
            nodes = [Node(client, Path(folder) / str(number), kubectl, store) for number in range(NODES)]
            lost = await asyncio.gather(*(node.lose() for node in nodes))
    interval = Settings.journal_seconds
    worst = max(lost, key=lambda node: node.seconds)
    return [
        Row(
            f"node lost, {NODES} times: time since the last answer that is kept, at most",
            worst.seconds,
            "s",
            interval + TARGET_SECONDS + ALLOWED_SECONDS,
            f"{worst.computed - worst.kept} answers; stored every {interval:.0f} s, chunks of {TARGET_SECONDS:.0f} s",
        )
    ]


class Node:
    """One with a pod on it: an evaluation whose attempt runs, its run directory, its run and its reporter."""

    def __init__(self, client: transport.Transport, folder: Path, kubectl: Kubectl, store: Mapping[str, str]) -> None:
        self._client, self._folder = client, folder
        self._kubeconfig, self._store = kubectl.kubeconfig, store

    async def lose(self) -> LostNode:
        """Starts both, and kills both."""
        self._folder.mkdir()
        run = await self._create_evaluation()
        processes = [await self._start(run, "-c", START_REPORTER)]
        try:
            await self._wait_for(READY_FILE)
            processes.append(await self._start(run, "-m", "bench.journal_writer", str(self._folder)))
            await self._wait_for(TIMES)
            await asyncio.sleep(random.uniform(EARLIEST, LATEST))
        finally:
            for process in processes:
                process.kill()
            lost_at = time.time()
            for process in processes:
                await process.wait()
        return await self._compare(run, lost_at)

    async def _create_evaluation(self) -> RunInput:
        name = f"node-{self._folder.name}"
        uid = await create_running(self._client, name, task="bench")
        harness = HarnessArguments(model="dummy", tasks=["bench"])
        return RunInput(namespace=NAMESPACE, name=name, uid=uid, attempt=1, harness=harness)

    async def _start(self, run: RunInput, *arguments: str) -> asyncio.subprocess.Process:
        own = {ENV_RUN: run.to_json(), ENV_RUN_DIRECTORY: str(self._folder), "KUBECONFIG": self._kubeconfig}
        log = ROOT / "build" / "bench" / f"{run.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            return await asyncio.create_subprocess_exec(
                sys.executable, *arguments, env={**os.environ, **own, **self._store}, stdout=stream, stderr=stream
            )

    async def _wait_for(self, file: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (self._folder / file).exists():
            if time.monotonic() > deadline:
                raise CommandFailed(f"no {file} in {self._folder}; see build/bench/node-*.log")
            await asyncio.sleep(0.02)

    async def _compare(self, run: RunInput, lost_at: float) -> LostNode:
        content = (self._folder / TIMES).read_bytes()
        times = struct.unpack(f"{len(content) // 8}d", content)
        kept = await self._count_stored(ArtifactPrefix(run.namespace, run.name, run.uid, run.attempt))
        return LostNode(len(times), kept, lost_at - (times[kept - 1] if kept else times[0]))

    async def _count_stored(self, prefix: ArtifactPrefix) -> int:
        store, count, number = ObjectStore(StoreSettings.from_environment(self._store)), 0, 0
        with contextlib.suppress(ObjectMissing):
            while True:
                key = prefix.file(journal_segment(str(NAME), number))
                segment = zstd.decompress(await store.get(key, max_bytes=MAX_JOURNAL_BYTES))
                for line in map(parse_journal_line, segment.splitlines()):
                    count += sum(len(batch.answers) for batch in line.batches) if isinstance(line, ChunkLine) else 0
                number += 1
        return count
