"""The processes of one `make test`: found by a mark in their environment, so that a run that was killed leaves none
behind.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .paths import ROOT

# Every process that a test starts inherits it.
MARK = "LMMS_EVAL_TEST_CHECKOUT"
PROC = Path("/proc")
END_SECONDS = 20.0
SHOW_SECONDS = 0.1


class Processes:
    """What one `make test` runs, each program with its output in a file."""

    def __init__(self, root: Path = ROOT) -> None:
        """`root` is the checkout whose tests they are."""
        self._root = root
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False
        self._lock = threading.Lock()

    def run(
        self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, echo: bool = False
    ) -> int:
        """Run a program to its end in the checkout; its exit code, or -1 after `end`.

        Its output is appended to `log`, and with `echo` goes to the terminal as well.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        # Not a pipe: what a test leaves running would hold it open.
        with log.open("ab") as output, log.open("rb") as shown:
            shown.seek(0, os.SEEK_END)
            process = self._start(command, {**_inherited(), **(environment or {}), MARK: str(self._root)}, output)
            if process is None:
                return -1
            while echo and process.poll() is None:
                _show(shown)
                time.sleep(SHOW_SECONDS)
            code = process.wait()
            if echo:
                _show(shown)
        with self._lock:
            self._running.discard(process)
        return code

    def _start(
        self, command: Sequence[str], environment: dict[str, str], output: BinaryIO
    ) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._ended:
                return None
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def end(self) -> None:
        """Interrupt what runs, so that tests take away what they made; kill what does not end in time.

        Nothing starts after.
        """
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        deadline = time.monotonic() + END_SECONDS
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
        kill_marked(self._root)


def _inherited() -> dict[str, str]:
    """Our environment, but that Python keeps what it compiled: tests start hundreds of processes of the same code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _show(file: BinaryIO) -> None:
    sys.stdout.buffer.write(file.read())
    sys.stdout.buffer.flush()


def kill_marked(root: Path = ROOT, proc: Path = PROC) -> list[int]:
    """Kill what the tests of this checkout have started and left behind; the process ids."""
    found = _marked(root, proc)
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


def _marked(root: Path, proc: Path) -> list[int]:
    mark = f"{MARK}={root}".encode()
    found = []
    for folder in proc.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found
