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


class ExitCode(IntEnum):
    """Exit codes. What concerns a job is what it ended as; docs/client.md has the same table."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    FORBIDDEN = 6
    GATE_FAILED = 7
    GATE_INCONCLUSIVE = 8
    INTERRUPTED = 130


class CliError(Exception):
    """A command cannot go on; the text says what to do."""

    def __init__(self, sentence: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(sentence)
        self.code = code


def find_exit_code(error: LmmsEvalError) -> ExitCode:
    """Return the exit code for an error of the client."""
    match error:
        case JobFailed():
            return ExitCode.FAILED
        case JobCancelled():
            return ExitCode.CANCELLED
        case WaitTimedOut():
            return ExitCode.TIMED_OUT
        case NotAuthorized():
            return ExitCode.FORBIDDEN
        case ServerBusy():
            return ExitCode.UNREACHABLE
        case ServerRefused() if error.status_code < 500:
            return ExitCode.USAGE
    return ExitCode.UNREACHABLE


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End the command with a sentence and its exit code where an error is raised."""
    try:
        yield
    except CliError as error:
        _exit(str(error), error.code)
    except LmmsEvalError as error:
        _exit(describe_error(error), find_exit_code(error))
    except KeyboardInterrupt:
        _exit("", ExitCode.INTERRUPTED)


def describe_error(error: LmmsEvalError) -> str:
    """Return the sentence for an error that a person reads."""
    if isinstance(error, NotAuthorized):
        return f"{error.detail} Give a token by --token or LMMS_EVAL_TOKEN."
    return error.detail if isinstance(error, ServerRefused) else str(error)


def _exit(text: str, code: ExitCode) -> None:
    if text:
        print(f"lmmeval: {clean(text, lines=True)}", file=sys.stderr)
    raise typer.Exit(code)
