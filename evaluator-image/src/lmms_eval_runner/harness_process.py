"""The process of the harness: started without a shell, polled, and ended with everything that it has started.

As process 1 of a container, or as the nearest reaper, we also inherit and reap its orphans: engines leave some behind.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TERM_SECONDS: Final = 4.0
KILL_SECONDS: Final = 1.0
_TICK: Final = 0.05
_PR_SET_CHILD_SUBREAPER: Final = 36


class HarnessProcess:
    """One process in a session of its own. OSError where it cannot be started."""

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], directory: Path, output: int) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a death by signal, or None while it runs.

        All other children are reaped too.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self.pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM to the process and all its descendants, and kill those that are left after `TERM_SECONDS`."""
        self._signal_until_gone(signal.SIGTERM, TERM_SECONDS, once=True)
        self.kill()

    def kill(self) -> None:
        """Kill the process and whatever it has left behind."""
        self._signal_until_gone(signal.SIGKILL, KILL_SECONDS, once=False)

    def _signal_until_gone(self, number: int, seconds: float, *, once: bool) -> None:
        """Repeat SIGKILL, as new processes may appear while others die; send SIGTERM once."""
        deadline, sent = time.monotonic() + seconds, False
        while (alive := list_descendants(os.getpid())) and time.monotonic() < deadline:
            if not (once and sent):
                _signal_all(alive, number)
            sent = True
            time.sleep(_TICK)
            self.poll()


def list_descendants(root: int) -> list[int]:
    """Return the ids of all living processes below `root`."""
    parents = _read_parents()
    found, level = [], {root}
    while level := {pid for pid, parent in parents.items() if parent in level}:
        found += sorted(level)
    return found


def _read_parents() -> dict[int, int]:
    """Return the parent of every process that is not just waiting to be reaped."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _read_stat(entry)) and fields[0] != "Z":
            parents[int(entry.name)] = int(fields[1])
    return parents


def _read_stat(process: Path) -> list[str]:
    """Return state, parent and the rest; nothing for a process that is gone.

    The name before them may hold any character.
    """
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _signal_all(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
