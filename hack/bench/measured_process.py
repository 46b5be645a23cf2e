"""A process of ours or of others on this machine, and what the kernel says of it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.population import REPORTER_ACCOUNT

STOP_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024


class MeasuredProcess:
    """One that runs; `began` is when it was started, on the monotonic clock."""

    def __init__(self, process: subprocess.Popen[bytes], began: float) -> None:
        self._process = process
        self._proc = Path("/proc") / str(process.pid)
        self.began = began

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mib(self) -> float:
        """The most memory that it has held."""
        return self._memory("VmHWM:")

    def resident_mib(self) -> float:
        """The memory that it holds."""
        return self._memory("VmRSS:")

    def children_peak_mib(self) -> float:
        """The most memory that those processes have held which are its children now."""
        return sum(map(self._child_peak, self._list_children()))

    def _list_children(self) -> list[str]:
        # The kernel lists them by the thread that started them.
        return [child for file in self._proc.glob("task/*/children") for child in file.read_text().split()]

    def _child_peak(self, child: str) -> float:
        with contextlib.suppress(OSError, StopIteration):
            return _read_memory(self._proc.with_name(child), "VmHWM:")
        return 0.0

    def _memory(self, line: str) -> float:
        return _read_memory(self._proc, line)


def _read_memory(proc: Path, line: str) -> float:
    lines = (proc / "status").read_text().splitlines()
    return next(int(found.split()[1]) for found in lines if found.startswith(line)) / MIB


@contextlib.contextmanager
def run_process(command: Sequence[str], settings: Mapping[str, str], *, log: Path) -> Iterator[MeasuredProcess]:
    """Runs for as long as the block lasts; its output goes to a file. It is killed, not stopped: nothing may mind."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=stream, stderr=stream)
    try:
        yield MeasuredProcess(process, began)
    finally:
        process.kill()
        process.wait(STOP_SECONDS)


@contextlib.contextmanager
def run_operator(*, kubeconfig: str, namespace: str, log: Path) -> Iterator[MeasuredProcess]:
    """The operator, started as the image starts it."""
    settings = {
        "KUBECONFIG": kubeconfig,
        "LMMS_EVAL_NAMESPACE": namespace,
        "LMMS_EVAL_EVALUATOR_IMAGE": "evaluator:1",
        "LMMS_EVAL_REPORTER_IMAGE": "reporter:1",
        "LMMS_EVAL_REPORTER_SERVICE_ACCOUNT": REPORTER_ACCOUNT,
        # Nothing is pruned: the finished ones are a part of the load.
        "LMMS_EVAL_MAX_FINISHED": "0",
        "LMMS_EVAL_PROBE_PORT": "18080",
    }
    with run_process([find_program("lmms-eval-operator")], settings, log=log) as process:
        yield process


def find_program(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).with_name(name))
