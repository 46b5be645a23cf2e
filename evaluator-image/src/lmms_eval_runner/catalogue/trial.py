"""Runs a function in a process of its own, which may crash, hang or print.

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


class TrialError(NamedTuple):
    """What the function raised: the name of the class, the text, and for a missing module its name."""

    error: str
    text: str
    module: str | None = None


class TrialDeath(NamedTuple):
    """The process ended without an answer, or was ended for taking too long: a sentence without its subject."""

    how: str


def run_trial(function: Callable[[], list[str]], *, seconds: float) -> list[str] | TrialError | TrialDeath:
    """Return what `function` returns or raises, or how its process died."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_run_in_child, args=(function, sender))
    process.start()
    sender.close()
    try:
        answer = _receive(receiver) if receiver.poll(seconds) else TrialDeath(f"did not end within {seconds:g} seconds")
    finally:
        receiver.close()
        _kill(process)
    return TrialDeath(_describe_exit(process)) if answer is None else answer


def _run_in_child(function: Callable[[], list[str]], sender: Connection) -> None:
    # A group of its own: whatever it starts ends with it.
    os.setsid()
    _silence_output()
    try:
        answer = {"returned": function()}
    except BaseException as error:
        module = getattr(error, "name", None) if isinstance(error, ImportError) else None
        _send(sender, {"raised": [type(error).__name__, str(error)[:_MAX_TEXT], module]})
        raise
    _send(sender, answer)


def _silence_output() -> None:
    silence = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    for stream in (1, 2):
        os.dup2(silence.fileno(), stream)
    sys.stdout = sys.stderr = silence


def _send(sender: Connection, answer: dict[str, list[str | None]] | dict[str, list[str]]) -> None:
    sender.send_bytes(json.dumps(answer).encode())


def _receive(receiver: Connection) -> list[str] | TrialError | None:
    """Return the answer of the process; None where it died instead."""
    try:
        answer = json.loads(receiver.recv_bytes())
    except EOFError:
        return None
    returned: list[str] | None = answer.get("returned")
    return TrialError(*answer["raised"]) if returned is None else returned


def _kill(process: BaseProcess) -> None:
    """Kill the process with all that it has started."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It is gone, or has not come to make its group.
        process.kill()
    process.join()


def _describe_exit(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"ended the process with signal {-code}" if code < 0 else f"ended the process with exit code {code}"
