"""A process of its own for work on bytes that a run wrote: parsing, filtering, normalising.

A call there is limited in time and memory, and does not block the event loop. A call that exceeds a limit ends the
process, which is replaced: that fails this call and no other. The process is no trust boundary: both sides are the same
user and the same code.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys
import weakref
from asyncio import get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, ParamSpec, TypeVar

# Memory besides the code, and processor time of one call. The largest valid results file takes 150 MiB and half a
# second; two of these processes leave the front end itself half of its container's 768 MiB.
MEMORY_BYTES: Final = 192 * 1024 * 1024
CALL_SECONDS: Final = 10.0
# Python may keep memory that a call needed: a process that holds this much after a call is replaced.
RETIRING_BYTES: Final = 96 * 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class TooCostly(Exception):
    """The call took more time or memory than it may; the message is the end of a sentence."""


class Reply(NamedTuple):
    """The result of a call: its value or its error, and whether the process takes another call."""

    value: Any = None
    error: Exception | None = None
    is_reusable: bool = True


class Worker:
    """One process, started with its first call; it runs one call at a time, in order."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, call_seconds: float = CALL_SECONDS) -> None:
        self._bounds = (str(memory_bytes), str(call_seconds))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._process: subprocess.Popen[bytes] | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return or raise what the function, which some module defines, returns or raises there. Raises TooCostly."""
        reply = await get_running_loop().run_in_executor(self._thread, self._ask, partial(function, *args, **kwargs))
        if reply.error is not None:
            raise reply.error
        value: T = reply.value
        return value

    @property
    def pid(self) -> int | None:
        """The process id, None if there is no process now."""
        return self._process.pid if self._process is not None else None

    def _ask(self, work: Callable[[], Any]) -> Reply:
        process = self._process or self._start()
        try:
            reply = _exchange(process, work)
        except (EOFError, OSError, pickle.UnpicklingError):
            reply = Reply(error=TooCostly("takes too much time or memory"), is_reusable=False)
        if not reply.is_reusable:
            self._process = None
            _end(process)
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        # Without our environment: the process needs no credential.
        command = [sys.executable, "-I", "-m", __name__, *self._bounds]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={})
        weakref.finalize(self, _end, self._process)
        return self._process


def _exchange(process: subprocess.Popen[bytes], work: Callable[[], Any]) -> Reply:
    assert process.stdin is not None and process.stdout is not None
    pickle.dump(work, process.stdin, pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()
    reply: Reply = pickle.load(process.stdout)
    return reply


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    # Closes the pipes, whatever is left in them, and waits for the process to end.
    process.communicate()


def serve(requests: IO[bytes], replies: IO[bytes], *, call_seconds: float) -> None:
    """Run calls until there are no more, or the process has grown. Runs in the worker process."""
    grown = False
    while not grown:
        try:
            work = pickle.load(requests)
        except EOFError:
            return
        # A limit of processor time, which ends the process in the middle of the call.
        signal.setitimer(signal.ITIMER_PROF, call_seconds)
        reply = _run(work)
        signal.setitimer(signal.ITIMER_PROF, 0)
        grown = _read_resident_bytes() > RETIRING_BYTES
        pickle.dump(reply._replace(is_reusable=not grown), replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()


def _run(work: Callable[[], Any]) -> Reply:
    try:
        return Reply(work())
    except MemoryError:
        return Reply(error=TooCostly("takes too much memory"))
    except Exception as error:  # noqa: BLE001 - raised again where the call was made
        return Reply(error=error)


def _read_resident_bytes() -> int:
    # Not getrusage's maximum, which starts with the parent's.
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Run the worker process."""
    memory_bytes, call_seconds = int(sys.argv[1]), float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The front end handles the terminal's interrupt; this process ends when its requests end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    # Printed text must not get between the replies.
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies, call_seconds=call_seconds)


if __name__ == "__main__":
    # Imported by its own name, so that both sides pickle the same classes.
    from lmms_eval_api.artifacts.worker import main as run

    run()
