"""Programs as processes of their own, forked after the imports.

They are forked from a server process that has imported the program's code and done nothing else: imports are most of a
start, and tests start hundreds of front ends and runners. The tests that run the images cover the imports.
"""

import importlib
import multiprocessing
import os
import signal
import subprocess
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")


class ForkedProcess:
    """A running program, with the methods of subprocess.Popen."""

    def __init__(self, program: str, environment: dict[str, str], output: Path) -> None:
        """Start the function `module:name` with these variables alone; what it prints goes to `output`.

        The first program of a test process is imported before the fork, others after it.
        """
        output.touch()
        _FORKS.set_forkserver_preload([program.partition(":")[0]])
        self._process: ForkServerProcess = _FORKS.Process(target=_run, args=(program, environment, str(output)))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code; raise subprocess.TimeoutExpired after `timeout` seconds."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("forked process", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(program: str, environment: dict[str, str], output: str) -> None:
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(written, stream)
    os.close(written)
    os.environ.clear()
    os.environ.update(environment)
    module, _, name = program.partition(":")
    raise SystemExit(getattr(importlib.import_module(module), name)())
