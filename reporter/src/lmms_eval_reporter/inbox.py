"""Reads what the runner left in the run directory: progress, outcome, results.

The user's code can write there too, so what is odd becomes a sentence in the status and never an exception.
"""

from typing import Any, NamedTuple

from pydantic import ValidationError

from lmms_eval_core import run
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import Reason
from lmms_eval_core.results import InvalidResults, parse_results
from lmms_eval_core.run import Outcome, ProgressReport
from lmms_eval_reporter.files import RunDirectory, UnsafeFile, components


class Ending(NamedTuple):
    """How the run ended; `results` is there for a success alone."""

    outcome: Outcome
    results: dict[str, Any] | None = None


def read_progress(directory: RunDirectory) -> ProgressReport | None:
    """The runner's progress; None while there is none, or none that can be read."""
    try:
        content = directory.read(run.PROGRESS_FILE, max_bytes=run.MAX_JSON_BYTES)
        return ProgressReport.model_validate_json(content)
    except (UnsafeFile, ValidationError):
        return None


def read_ending(directory: RunDirectory) -> Ending | None:
    """How the run ended; None while it goes on. A success whose results cannot be read is none."""
    if directory.version(run.OUTCOME_FILE) is None:
        return None
    try:
        outcome = Outcome.model_validate_json(directory.read(run.OUTCOME_FILE, max_bytes=run.MAX_JSON_BYTES))
    except UnsafeFile as error:
        return Ending(_unusable(f"the runner's outcome cannot be read: {error}"))
    except ValidationError as error:
        return Ending(_unusable(f"the runner's outcome cannot be read: {error.error_count()} errors in {run.OUTCOME_FILE}"))
    return _with_results(directory, outcome)


def interrupted() -> Outcome:
    """The outcome of a run that ended without saying how."""
    message = "the evaluator ended without an outcome: it was stopped or killed"
    return Outcome(reason=Reason.INTERRUPTED, exit_code=75, message=message)


def in_output(path: str) -> str:
    """`path` if it is beneath the harness's output; UnsafeFile if not."""
    if components(path)[0] != run.OUTPUT_DIRECTORY:
        raise UnsafeFile(f"{path!r} is not in {run.OUTPUT_DIRECTORY}/")
    return path


def _with_results(directory: RunDirectory, outcome: Outcome) -> Ending:
    if outcome.reason not in BY_REASON:
        return Ending(_unusable(f"{outcome.reason.value} is not a way for a run to end"))
    if outcome.reason != Reason.SUCCEEDED:
        return Ending(outcome)
    try:
        content = directory.read(in_output(outcome.results or ""), max_bytes=run.MAX_RESULTS_BYTES)
        return Ending(outcome, parse_results(content.decode()))
    except (UnsafeFile, InvalidResults, UnicodeDecodeError) as error:
        message = f"the run ended well, but its results cannot be read: {error}"
        return Ending(outcome.model_copy(update={"reason": Reason.RESULTS_MISSING, "message": message}))


def _unusable(message: str) -> Outcome:
    return Outcome(reason=Reason.RESULTS_MISSING, exit_code=0, message=message)
