"""Reads the files that the runner left in the run directory: progress, outcome, results.

The user's code can write there too, so what is odd becomes a sentence in the status and never an exception.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from lmms_eval_core import run
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.harness_files import InvalidPath, find_results_date_id, find_samples_task
from lmms_eval_core.phases import Reason
from lmms_eval_core.results_file import InvalidResults, parse_results
from lmms_eval_core.run import Outcome, ProgressReport
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile


class FinishedRun(NamedTuple):
    """A run that has ended: its outcome, and the parsed results file of a success."""

    outcome: Outcome
    results: dict[str, Any] | None = None


def read_progress(directory: RunDirectory) -> ProgressReport | None:
    """Return the runner's progress; None while there is none, or none that can be read."""
    try:
        content = directory.read(run.PROGRESS_FILE, max_bytes=run.MAX_JSON_BYTES)
        return ProgressReport.model_validate_json(content)
    except (UnsafeFile, ValidationError):
        return None


def read_finished_run(directory: RunDirectory) -> FinishedRun | None:
    """Return how the run ended; None while it goes on. A success whose results cannot be read becomes a failure."""
    if directory.read_version(run.OUTCOME_FILE) is None:
        return None
    try:
        outcome = Outcome.model_validate_json(directory.read(run.OUTCOME_FILE, max_bytes=run.MAX_OUTCOME_BYTES))
    except UnsafeFile as error:
        return FinishedRun(_make_unusable(f"the runner's outcome cannot be read: {error}"))
    except ValidationError as error:
        problem = f"{error.error_count()} errors in {run.OUTCOME_FILE}"
        return FinishedRun(_make_unusable(f"the runner's outcome cannot be read: {problem}"))
    return _add_results(directory, outcome)


def make_interrupted_outcome() -> Outcome:
    """Return the outcome of a run that ended without an outcome of its own."""
    message = "the evaluator ended without an outcome: it was stopped or killed"
    return Outcome(reason=Reason.INTERRUPTED, exit_code=75, message=message)


def find_results_path(outcome: Outcome) -> str:
    """Return where lmms-eval wrote its results; UnsafeFile where it surely did not."""
    path = outcome.results or ""
    if _check_path(lambda: find_results_date_id(path)) is None:
        raise UnsafeFile(f"{path[:80]!r} is not where lmms-eval writes its results")
    return path


def find_samples_path(outcome: Outcome, task: str) -> str:
    """Return where lmms-eval wrote a task's samples; UnsafeFile where it surely did not."""
    path = outcome.samples[task]
    if _check_path(lambda: find_samples_task(path, results=outcome.results or "")) != task:
        raise UnsafeFile(f"{path[:80]!r} is not where lmms-eval writes the samples of {task[:80]!r}")
    return path


def _check_path(parse: Callable[[], str | None]) -> str | None:
    """Return what `parse` finds in a path, with UnsafeFile in place of InvalidPath."""
    try:
        return parse()
    except InvalidPath as error:
        raise UnsafeFile(str(error)) from error


def _add_results(directory: RunDirectory, outcome: Outcome) -> FinishedRun:
    if outcome.reason not in BY_REASON:
        return FinishedRun(_make_unusable(f"{outcome.reason.value} is not a way for a run to end"))
    if outcome.reason != Reason.SUCCEEDED:
        return FinishedRun(outcome)
    try:
        content = directory.read(find_results_path(outcome), max_bytes=run.MAX_RESULTS_BYTES)
        return FinishedRun(outcome, parse_results(content))
    except (UnsafeFile, InvalidResults) as error:
        message = f"the run ended well, but its results cannot be read: {error}"
        return FinishedRun(outcome.model_copy(update={"reason": Reason.EVALUATION_ERROR, "message": message}))


def _make_unusable(message: str) -> Outcome:
    # What the run left is the run's own doing: another attempt would leave the same.
    return Outcome(reason=Reason.EVALUATION_ERROR, exit_code=0, message=message)
