"""Fixtures `upstream` and `start_upstream_server`: lmms-eval's own client and server as released.

They are installed without dependencies: what both need is in the test environment.
"""

import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from front_end_fixtures import START_SECONDS
from plain_http import NO_TLS
from ports import find_free_port
from provided import build_bare_environment
from upstream import installed

STAND_INS = Path(__file__).with_name("upstream_stand_ins")
RECORDED_RUN = STAND_INS / "recorded_run"
RECORDED_TASK = "smoke_vqa"


@dataclass(frozen=True)
class UpstreamServer:
    """lmms-eval's own server. Without torch its evaluations fail as soon as they start, but those of RECORDED_TASK."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    hold: Path

    def wait_until_ready(self) -> None:
        """Wait for the first answer; fail with the log when the process ends first."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False, verify=NO_TLS).is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def hold_evaluation(self) -> Iterator[None]:
        """Have the evaluation that is submitted in this block do nothing, so that it stays in state running."""
        self.hold.touch()
        yield
        deadline = time.monotonic() + START_SECONDS
        while self.hold.exists():
            assert time.monotonic() < deadline, "lmms-eval's own server has not started the evaluation"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server, which kills the evaluation that it runs."""
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


StartUpstreamServer = Callable[..., UpstreamServer]


@pytest.fixture
def start_upstream_server(upstream_folder: Path, tmp_path: Path) -> Iterator[StartUpstreamServer]:
    """Starts servers on loopback, each in a process of its own; their temporary folders are the test's.

    With `tasks`, that is what their environment has; without, they cannot tell.
    """
    started: list[UpstreamServer] = []

    def start(*, tasks: Sequence[str] = ()) -> UpstreamServer:
        port, log = find_free_port(), tmp_path / f"upstream-{len(started)}.log"
        hold = tmp_path / f"upstream-{len(started)}.hold"
        command = [sys.executable, "-m", "lmms_eval.launch_server", "--host", "127.0.0.1", "--port", str(port)]
        variables = {
            **build_bare_environment(),
            "PYTHONPATH": f"{STAND_INS}:{upstream_folder}",
            "TMPDIR": str(tmp_path),
            "HOME": str(tmp_path),
            "RECORDED_TASK": RECORDED_TASK,
            "HOLD": str(hold),
        }
        if tasks:
            variables["TASKS"] = ",".join(tasks)
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
        started.append(UpstreamServer(f"http://127.0.0.1:{port}", process, log, hold))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()
