"""Front ends as processes of their own, forked after the imports.

They are forked from a server process that has imported the front end's code and done nothing else: imports are most of
a start, and tests start hundreds of front ends. The tests that run the image cover the imports.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from lmms_eval_api.main import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([main.__module__])


class FrontEndProcess:
    """A running front end, with the methods of subprocess.Popen."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        """Start it with these variables alone; its output goes to `log`."""
        log.touch()
        self._process: ForkServerProcess = _FORKS.Process(target=_run, args=(environment, str(log)))
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
            raise subprocess.TimeoutExpired("front end", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _run(environment: dict[str, str], log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    sys.stdin.close()
    os.environ.clear()
    os.environ.update(environment)
    main()
