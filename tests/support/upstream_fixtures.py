"""lmms-eval's own client and server as released, without its dependencies: what both need besides is in the test environment."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from api_fixtures import START_SECONDS, free_port
from upstream import installed


@dataclass(frozen=True)
class UpstreamServer:
    """lmms-eval's own server. Without torch its evaluations fail as soon as they start."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self) -> None:
        """Waits for its first answer; fails with the log when the process ends first."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """The evaluation that is submitted in here stays in its first moment: it runs for as long as a test likes."""
        yield
        deadline = time.monotonic() + START_SECONDS
        while not (evaluations := [child for child in self._children() if self._has_started(child)]):
            assert time.monotonic() < deadline, "lmms-eval's own server has not started the evaluation"
            time.sleep(0.002)
        os.kill(evaluations[0], signal.SIGSTOP)

    def _children(self) -> list[int]:
        return [int(child) for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def _has_started(self, child: int) -> bool:
        # Stopped before it is a program of its own, it would stop the server, which waits for that.
        try:
            return b"--model" in Path(f"/proc/{child}/cmdline").read_bytes()
        except FileNotFoundError:
            return False

    def stop(self) -> None:
        """Ends it; it kills the evaluation that it runs."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=START_SECONDS)


@pytest.fixture(scope="session")
def upstream_folder() -> Path:
    """The folder with `lmms_eval` as released; installed when the lock changes."""
    return installed()


@pytest.fixture(scope="session")
def upstream(upstream_folder: Path) -> ModuleType:
    """`lmms_eval.entrypoints`, with its clients."""
    sys.path.append(str(upstream_folder))
    try:
        return importlib.import_module("lmms_eval.entrypoints")
    finally:
        sys.path.remove(str(upstream_folder))


@pytest.fixture
def upstream_server(upstream_folder: Path, tmp_path: Path) -> Iterator[UpstreamServer]:
    """The server on loopback, in a process of its own; its temporary folders are the test's."""
    port, log = free_port(), tmp_path / "upstream.log"
    command = [sys.executable, "-m", "lmms_eval.launch_server", "--host", "127.0.0.1", "--port", str(port)]
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(upstream_folder), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    server = UpstreamServer(f"http://127.0.0.1:{port}", process, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            server.stop()
