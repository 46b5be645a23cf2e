"""The operator as a process of its own on this machine, and what the kernel says of it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.population import REPORTER_ACCOUNT

STOP_SECONDS = 10
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024


class OperatorProcess:
    """One that runs; `began` is when it was started, on the monotonic clock."""

    def __init__(self, process: subprocess.Popen[bytes], began: float) -> None:
        self._proc = Path("/proc") / str(process.pid)
        self.began = began

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mib(self) -> float:
        """The most memory that it has held."""
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / MIB


@contextlib.contextmanager
def running(*, kubeconfig: str, namespace: str, log: Path) -> Iterator[OperatorProcess]:
    """Started as the image starts it; its log goes to a file. It is killed, not stopped: the queue must not mind."""
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
    program = str(Path(sys.executable).with_name("lmms-eval-operator"))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen([program], env={**os.environ, **settings}, stderr=stream)
    try:
        yield OperatorProcess(process, began)
    finally:
        process.kill()
        process.wait(STOP_SECONDS)
