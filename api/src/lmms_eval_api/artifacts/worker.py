"""A process of its own for work on bytes that a run wrote: parsing, filtering, normalising.

A call there has bounds of time and memory and keeps the event loop from nothing. One that passes them ends the process, which
is replaced: it fails that call and no other. It is no boundary of trust: both sides are the same user and the same code.
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

# Of memory besides the code, and of processor time for one call. The largest results file that passes its bounds takes 150 MiB
# and half a second; the front end itself has the rest of its container's 512 MiB.
MEMORY_BYTES: Final = 192 * 1024 * 1024
CALL_SECONDS: Final = 10.0
# Python may keep what a call has needed: a process that holds so much after one makes room for the next.
RETIRING_BYTES: Final = 96 * 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class TooCostly(Exception):
    """The call took more time or memory than one may; the end of a sentence."""


class Reply(NamedTuple):
    """What a call came to: its value or its error; and whether the process takes another call."""

    value: Any = None
    error: Exception | None = None
    goes_on: bool = True


class Worker:
    """One process, started with its first call; one call at a time, in the order in which they come."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, call_seconds: float = CALL_SECONDS) -> None:
        self._bounds = (str(memory_bytes), str(call_seconds))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self._process: subprocess.Popen[bytes] | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function of some module returns or raises there; TooCostly."""
        reply = await get_running_loop().run_in_executor(self._thread, self._ask, partial(function, *args, **kwargs))
        if reply.error is not None:
            raise reply.error
        value: T = reply.value
        return value

    @property
    def pid(self) -> int | None:
        """Of the process, if there is one now."""
        return self._process.pid if self._process is not None else None

    def _ask(self, work: Callable[[], Any]) -> Reply:
        process = self._process or self._start()
        try:
            reply = _exchange(process, work)
        except (EOFError, OSError, pickle.UnpicklingError):
            reply = Reply(error=TooCostly("takes too much time or memory"), goes_on=False)
        if not reply.goes_on:
            self._process = None
            _end(process)
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        # Without our environment: nothing there needs a credential of ours.
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
    # Closes the pipes, whatever is left in them, and waits for its end.
    process.communicate()


def serve(requests: IO[bytes], replies: IO[bytes], *, call_seconds: float) -> None:
    """In the process: answers calls until there are no more, or it has grown."""
    grown = False
    while not grown:
        try:
            work = pickle.load(requests)
        except EOFError:
            return
        # Of processor time: it ends the process in the middle of whatever it does.
        signal.setitimer(signal.ITIMER_PROF, call_seconds)
        reply = _reply(work)
        signal.setitimer(signal.ITIMER_PROF, 0)
        grown = _resident() > RETIRING_BYTES
        pickle.dump(reply._replace(goes_on=not grown), replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()


def _reply(work: Callable[[], Any]) -> Reply:
    try:
        return Reply(work())
    except MemoryError:
        return Reply(error=TooCostly("takes too much memory"))
    except Exception as error:  # noqa: BLE001 - raised again where the call was made
        return Reply(error=error)


def _resident() -> int:
    # Not getrusage's maximum: that begins with the parent's.
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """The process."""
    memory_bytes, call_seconds = int(sys.argv[1]), float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The terminal's interrupt is the front end's to answer; this ends with its requests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    # Whatever is printed must not get between the replies.
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies, call_seconds=call_seconds)


if __name__ == "__main__":
    # Under its own name, so that what is pickled here is what the other side knows.
    from lmms_eval_api.artifacts.worker import main as run

    run()
