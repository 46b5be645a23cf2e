"""The reporter as a process of its own, for tests on a real API server and a real S3 server.

With the evaluation that it reports on, its run directory, and a link to the API server that a test can cut.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from ports import find_free_port
from provided import build_bare_environment

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, Object
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.run import HarnessArguments, Outcome, ProgressReport, RunInput, write_atomically

START = "from lmms_eval_reporter.start import start; start()"

WAIT_SECONDS = 30
Result = TypeVar("Result")


async def wait_for(check: Callable[[], Awaitable[Result | None]], seconds: float = WAIT_SECONDS) -> Result:
    """Return the first answer of `check` that is true; raise TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            answer = await check()
            if answer:
                return answer
            await asyncio.sleep(0.05)


class ApiServerLink:
    """A TCP relay in front of the API server; `cut` is an outage for its clients alone."""

    def __init__(self, kubeconfig: Path, copy: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        self._server = urlsplit(cluster["server"])
        self.kubeconfig = copy
        self._listener: asyncio.Server | None = None
        self._port = find_free_port()
        cluster["server"] = f"https://127.0.0.1:{self._port}"
        copy.write_text(json.dumps(content))
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def port(self) -> int:
        """The port on loopback that it listens on."""
        return self._port

    async def connect(self) -> None:
        """Listen, always on the same port."""
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Refuse new connections and drop the open ones."""
        assert self._listener is not None
        self._listener.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._listener.wait_closed()

    def hang(self) -> None:
        """Accept data, but pass nothing on."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass data on again, after `hang`."""
        self._flowing.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._server.hostname, self._server.port or 443)
        self._open |= {writer, there_writer}
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            self._open -= {writer, there_writer}
            for end in (writer, there_writer):
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                await self._flowing.wait()
                writer.write(piece)
                await writer.drain()
        with suppress(OSError):
            writer.close()


class RunningEvaluation:
    """One evaluation on the API server, put into the state that the operator would have given it."""

    def __init__(self, client: Transport, found: Object) -> None:
        self._client = client
        self.name: str = found["metadata"]["name"]
        self.uid: str = found["metadata"]["uid"]

    @classmethod
    async def create_running(cls, client: Transport, name: str = "nightly") -> "RunningEvaluation":
        """Create an evaluation whose attempt 1 runs."""
        spec = {"model": "llava_hf", "tasks": ["tiny_vqa"], "modelArgs": {"pretrained": "tiny/llava"}}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": spec}
        made = cls(client, await client.create(EVALUATIONS, body))
        await made.set_status(phase="Running", reason="Starting", attempt=1, jobName=f"{name}-{made.uid[:8]}-a1")
        return made

    async def set_status(self, **fields: Any) -> None:
        """Set status fields, as the operator does."""
        patch = [{"op": "add", "path": f"/status/{name}", "value": value} for name, value in fields.items()]
        await self._client.json_patch(EVALUATIONS, self.name, patch, subresource="status")

    async def delete(self) -> None:
        """Delete the evaluation."""
        await self._client.delete(EVALUATIONS, self.name, uid=self.uid)

    async def read_status(self) -> dict[str, Any]:
        """Return the current status."""
        found: dict[str, Any] = (await self._client.get(EVALUATIONS, self.name))["status"]
        return found

    async def wait_for_status(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the status fulfils `condition`; return it."""

        async def fulfilled() -> dict[str, Any] | None:
            status = await self.read_status()
            return status if condition(status) else None

        return await wait_for(fulfilled)

    def run_input(self, *, namespace: str, attempt: int = 1) -> RunInput:
        """What the operator tells the pod."""
        harness = HarnessArguments(model="llava_hf", tasks=["tiny_vqa"])
        return RunInput(
            namespace=namespace,
            name=self.name,
            uid=self.uid,
            attempt=attempt,
            harness=harness,
            gpus=1,
            image="evaluator:1",
        )


class RunDirectoryWriter:
    """The runner's side of a run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "log.txt").write_text("start\n")

    def write_progress(self, stage: str, completed: int | None = None, total: int | None = None) -> None:
        """Write progress, as the runner does."""
        report = ProgressReport.model_validate(
            {"stage": stage, "completed": completed, "total": total, "stageStartedAt": 1, "updatedAt": 2}
        )
        write_atomically(self.path / "progress.json", report.to_json())

    def write_output(self, name: str, content: str) -> str:
        """Write a file of the harness; return its path as the outcome names it."""
        file = self.path / "output" / "m" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return f"output/m/{name}"

    def write_outcome(self, reason: str, exit_code: int, **fields: Any) -> None:
        """Write the outcome."""
        outcome = Outcome.model_validate({"reason": reason, "exitCode": exit_code, **fields})
        write_atomically(self.path / "outcome.json", outcome.to_json())

    def write_success(self, score: float = 0.25, **fields: Any) -> None:
        """Write all files of a successful run."""
        results = {"results": {"tiny_vqa": {"alias": "tiny_vqa", "tiny_acc,none": score, "tiny_acc_stderr,none": 0.09}}}
        self.write_outcome(
            "Succeeded",
            0,
            results=self.write_output("20261123_070000_results.json", json.dumps(results)),
            samples={
                "tiny_vqa": self.write_output(
                    "20261123_070000_samples_tiny_vqa.jsonl", '{"doc_id": 0}\n{"doc_id": 1}\n'
                )
            },
            **fields,
        )

    def has_file(self, name: str) -> bool:
        """Return whether the file exists."""
        return (self.path / name).exists()

    async def wait_for_file(self, name: str, seconds: float = WAIT_SECONDS) -> str:
        """Wait for a file of the reporter; return its content."""

        async def there() -> bool:
            return self.has_file(name)

        await wait_for(there, seconds)
        return (self.path / name).read_text().strip()


class ReporterProcess:
    """The sidecar's process."""

    def __init__(self, run: RunInput, files: RunDirectoryWriter, environment: Mapping[str, str]) -> None:
        self._environment = {
            **build_bare_environment(),
            "LMMS_EVAL_RUN": run.to_json(),
            "LMMS_EVAL_RUN_DIRECTORY": str(files.path),
            **environment,
        }
        self._log_file = files.path.parent / "reporter.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process."""
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", START, env=self._environment, stdout=log, stderr=log
            )

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal; return the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), seconds)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The events that it has logged, without one that it is writing."""
        whole = self._log_file.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    async def wait_for_event(self, event: str) -> dict[str, Any]:
        """Wait until it has logged the event; return the entry."""

        async def logged() -> dict[str, Any] | None:
            return next((line for line in self.log if line["event"] == event), None)

        return await wait_for(logged)
