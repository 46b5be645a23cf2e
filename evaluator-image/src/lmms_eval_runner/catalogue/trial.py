"""Tries a function in a process of its own, which may crash, hang or chatter as it likes.

The process is a fork: it finds imported what its parent has imported, and what it imports itself is gone with it.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import NamedTuple

_MAX_TEXT = 2000
_FORK = multiprocessing.get_context("fork")


class Raised(NamedTuple):
    """The function raised: the name of the class, the text, and for a missing module its name."""

    error: str
    text: str
    module: str | None = None


class Died(NamedTuple):
    """The process ended without an answer, or was ended for taking too long: a sentence without its subject."""

    how: str


def trial(function: Callable[[], list[str]], *, seconds: float) -> list[str] | Raised | Died:
    """What `function` returns or raises, or how its process died."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_child, args=(function, sender))
    process.start()
    sender.close()
    try:
        answer = _answer(receiver) if receiver.poll(seconds) else Died(f"did not end within {seconds:g} seconds")
    finally:
        receiver.close()
        _end(process)
    return Died(_ending(process)) if answer is None else answer


def _child(function: Callable[[], list[str]], sender: Connection) -> None:
    # A group of its own: whatever it starts ends with it.
    os.setsid()
    _be_silent()
    try:
        answer = {"returned": function()}
    except BaseException as error:
        module = getattr(error, "name", None) if isinstance(error, ImportError) else None
        _send(sender, {"raised": [type(error).__name__, str(error)[:_MAX_TEXT], module]})
        raise
    _send(sender, answer)


def _be_silent() -> None:
    silence = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    for stream in (1, 2):
        os.dup2(silence.fileno(), stream)
    sys.stdout = sys.stderr = silence


def _send(sender: Connection, answer: dict[str, list[str | None]] | dict[str, list[str]]) -> None:
    sender.send_bytes(json.dumps(answer).encode())


def _answer(receiver: Connection) -> list[str] | Raised | None:
    """None where the process died instead."""
    try:
        answer = json.loads(receiver.recv_bytes())
    except EOFError:
        return None
    returned: list[str] | None = answer.get("returned")
    return Raised(*answer["raised"]) if returned is None else returned


def _end(process: BaseProcess) -> None:
    """Ends it with all that it has started; it has nothing more to say."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It is gone, or has not come to make its group.
        process.kill()
    process.join()


def _ending(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"ended the process with signal {-code}" if code < 0 else f"ended the process with exit code {code}"
