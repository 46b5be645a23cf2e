"""Operator processes on a real API server, and waiting for what they do."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from operator_namespace import OperatorNamespace
from ports import find_free_port


class OperatorProcess:
    """One operator process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
        self.process = process
        self._port = port
        self._log = log

    def read_events(self) -> list[dict[str, Any]]:
        """Return its log lines, without one that it is writing."""
        whole = self._log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    async def probe(self, path: str) -> int:
        return (await self.get(path))[0]

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self._port}/{path}") as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def run_operator(place: OperatorNamespace, kubeconfig: str, folder: Path) -> AsyncIterator[OperatorProcess]:
    """Run an operator until the end of the block; its log is printed, for tests that fail."""
    port = find_free_port()
    environment = {
        **os.environ,
        "KUBECONFIG": kubeconfig,
        "LMMS_EVAL_NAMESPACE": place.client.namespace,
        "LMMS_EVAL_EVALUATOR_IMAGE": "evaluator:1",
        "LMMS_EVAL_REPORTER_IMAGE": "reporter:1",
        "LMMS_EVAL_PROBE_PORT": str(port),
        "LMMS_EVAL_LOG_LEVEL": "DEBUG",
    }
    log = folder / f"operator-{time.monotonic_ns()}.log"
    with log.open("wb") as stream:
        program = [sys.executable, "-c", "import sys; from lmms_eval_operator.main import main; sys.exit(main())"]
        process = await asyncio.create_subprocess_exec(*program, env=environment, stderr=stream)
    try:
        yield OperatorProcess(process, log, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        print(log.read_text())


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> float:
    """Wait until the condition holds; return the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return time.monotonic() - began
            await asyncio.sleep(0.05)


def build_phase_check(place: OperatorNamespace, name: str, expected: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return bool((await place.read_status(name))["phase"] == expected)

    return holds


async def has_logged(running: OperatorProcess, event: str) -> bool:
    return any(entry["event"] == event for entry in running.read_events())


async def complete_evaluation(place: OperatorNamespace, name: str) -> None:
    await wait_until(build_phase_check(place, name, "Running"))
    await place.wait_for_pod(name)
    await place.publish_scores(name)
    await place.end_pod_of(name, 0)
    await wait_until(build_phase_check(place, name, "Completed"))
