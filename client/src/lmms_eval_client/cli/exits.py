"""How a command ends: exit codes for scripts, one sentence for people, never a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from lmms_eval_client.cli.text import clean
from lmms_eval_client.errors import (
    JobCancelled,
    JobFailed,
    LmmsEvalError,
    NotAuthorized,
    ServerBusy,
    ServerRefused,
    WaitTimedOut,
)


class Code(IntEnum):
    """Exit codes. What concerns a job is what it ended as; docs/client.md has the same table."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    FORBIDDEN = 6
    INTERRUPTED = 130


class CommandFailed(Exception):
    """A command cannot go on; the text says what to do."""

    def __init__(self, sentence: str, code: Code = Code.USAGE) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(error: LmmsEvalError) -> Code:
    """The exit code for an error of the client."""
    match error:
        case JobFailed():
            return Code.FAILED
        case JobCancelled():
            return Code.CANCELLED
        case WaitTimedOut():
            return Code.TIMED_OUT
        case NotAuthorized():
            return Code.FORBIDDEN
        case ServerBusy():
            return Code.UNREACHABLE
        case ServerRefused() if error.status_code < 500:
            return Code.USAGE
    return Code.UNREACHABLE


@contextmanager
def told() -> Iterator[None]:
    """Ends the command with a sentence and its code where something went wrong."""
    try:
        yield
    except CommandFailed as error:
        _end(str(error), error.code)
    except LmmsEvalError as error:
        _end(sentence(error), code_of(error))
    except KeyboardInterrupt:
        _end("", Code.INTERRUPTED)


def sentence(error: LmmsEvalError) -> str:
    """What a person reads."""
    if isinstance(error, NotAuthorized):
        return f"{error.detail} Give a token by --token or LMMS_EVAL_TOKEN."
    return error.detail if isinstance(error, ServerRefused) else str(error)


def _end(text: str, code: Code) -> None:
    if text:
        print(f"lmmeval: {clean(text, lines=True)}", file=sys.stderr)
    raise typer.Exit(code)
