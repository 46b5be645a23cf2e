"""The first process of the evaluator container: runs one attempt, writes its outcome, waits until that has left the
pod.

Its input is `RunInput` in the environment; its answer is `outcome.json` and the exit code (`lmms_eval_core.failures`).
The pod must not end before the reporter has acknowledged by the file `published` that it needs nothing more.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from lmms_eval_core.failures import find_exit_code
from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import (
    MAX_JSON_BYTES,
    OUTCOME_FILE,
    PROGRESS_FILE,
    PUBLISHED_FILE,
    RUN_DIRECTORY,
    Outcome,
    ProgressReport,
    RunInput,
    Stage,
    write_atomically,
)

from .attempt import run_attempt
from .outcome import add_versions, make_outcome
from .supervise import StopRequest

# A failure is reported by log and exit code as well; nobody waits an hour with a GPU for its report.
FAILURE_SECONDS: Final = 90
_TICK: Final = 0.1


def main() -> int:
    """Run the attempt that the environment describes; return the exit code."""
    stop = StopRequest()
    stop.listen()
    directory = Path(os.environ.get(ENV_RUN_DIRECTORY) or RUN_DIRECTORY)
    if is_published(directory):
        return find_exit_code(Reason.SUCCEEDED)
    run = _read_input(os.environ)
    if isinstance(run, Outcome):
        outcome, timeout = add_versions(run), 0.0
    else:
        outcome = run_attempt(run, directory=directory, environ=os.environ, mirror=sys.stdout.buffer, stop=stop)
        timeout = run.publish_timeout_seconds
    _write_outcome(directory, outcome)
    published = wait_for_published(directory, reason=outcome.reason, timeout_seconds=timeout, stop=stop)
    if outcome.reason is Reason.SUCCEEDED and not published:
        return find_exit_code(Reason.PUBLISH_FAILED)
    return outcome.exit_code


def is_published(directory: Path) -> bool:
    """Return whether the reporter needs nothing more of this pod; before the start it means that there is nothing to
    run.
    """
    return (directory / PUBLISHED_FILE).exists()


def wait_for_published(directory: Path, *, reason: Reason, timeout_seconds: float, stop: StopRequest) -> bool:
    """Return whether the reporter acknowledged in time.

    A finished result is waited for even while the pod is being ended, for as long as the cluster lets us.
    """
    succeeded = reason is Reason.SUCCEEDED
    deadline = time.monotonic() + (timeout_seconds if succeeded else min(timeout_seconds, FAILURE_SECONDS))
    while not is_published(directory):
        if time.monotonic() >= deadline or (stop.made and not succeeded):
            return False
        time.sleep(_TICK)
    return True


def _read_input(environ: Mapping[str, str]) -> RunInput | Outcome:
    try:
        return RunInput.model_validate_json(environ.get(ENV_RUN, ""))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return make_outcome(Reason.BAD_ARGUMENTS, f"{ENV_RUN} does not hold a run: {where} {first['msg']}")


def _write_outcome(directory: Path, outcome: Outcome) -> None:
    """Leave the outcome to the reporter. Where it cannot be written, the exit code has to do."""
    try:
        write_atomically(directory / OUTCOME_FILE, outcome.to_json())
        write_atomically(directory / PROGRESS_FILE, _make_publishing_report(directory).to_json())
    except OSError as error:
        print(f"lmms-eval-runner: the outcome could not be written: {error}", file=sys.stderr, flush=True)


def _make_publishing_report(directory: Path) -> ProgressReport:
    """Return the last report of the harness, in the stage Publishing."""
    now = time.time()
    try:
        with (directory / PROGRESS_FILE).open("rb") as file:
            last = ProgressReport.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError):
        last = ProgressReport(stage_started_at=now, updated_at=now)
    return last.model_copy(
        update={
            "stage": Stage.PUBLISHING,
            "stage_started_at": now,
            "updated_at": now,
            "rate": None,
            "eta_seconds": None,
        }
    )
