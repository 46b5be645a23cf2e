"""The first process of the evaluator container: runs one attempt, says how it ended, waits until that has left the pod.

Its input is `RunInput` in the environment; its answer is `outcome.json` and the exit code (`lmms_eval_core.failures`).
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lmms_eval_core.failures import exit_code
from lmms_eval_core.names import ENV_RUN, ENV_RUN_DIRECTORY
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import (
    MAX_JSON_BYTES,
    OUTCOME_FILE,
    PROGRESS_FILE,
    RUN_DIRECTORY,
    Outcome,
    ProgressReport,
    RunInput,
    Stage,
    write_atomically,
)

from .attempt import attempt
from .classify import Verdict
from .judge import refused
from .publishing import is_published, wait_for_published
from .stop import StopRequest


def main() -> int:
    """Runs the attempt that the environment describes; returns the exit code."""
    stop = StopRequest()
    stop.listen()
    directory = Path(os.environ.get(ENV_RUN_DIRECTORY) or RUN_DIRECTORY)
    if is_published(directory):
        return exit_code(Reason.SUCCEEDED)
    run = _input(os.environ)
    if isinstance(run, Verdict):
        outcome, timeout = refused(run), 0.0
    else:
        outcome = attempt(run, directory=directory, environ=os.environ, mirror=sys.stdout.buffer, stop=stop)
        timeout = run.publish_timeout_seconds
    _tell(directory, outcome)
    published = wait_for_published(directory, reason=outcome.reason, timeout_seconds=timeout, stop=stop)
    if outcome.reason is Reason.SUCCEEDED and not published:
        return exit_code(Reason.PUBLISH_FAILED)
    return outcome.exit_code


def _input(environ: Mapping[str, str]) -> RunInput | Verdict:
    try:
        return RunInput.model_validate_json(environ.get(ENV_RUN, ""))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Verdict(Reason.BAD_ARGUMENTS, f"{ENV_RUN} does not hold a run: {where} {first['msg']}")


def _tell(directory: Path, outcome: Outcome) -> None:
    """Leaves the outcome to the reporter. Where even that cannot be written, the exit code has to do."""
    try:
        write_atomically(directory / OUTCOME_FILE, outcome.to_json())
        write_atomically(directory / PROGRESS_FILE, _publishing(directory).to_json())
    except OSError as error:
        print(f"lmms-eval-runner: the outcome could not be written: {error}", file=sys.stderr, flush=True)


def _publishing(directory: Path) -> ProgressReport:
    """The last report of the harness, with what comes now."""
    now = time.time()
    try:
        with (directory / PROGRESS_FILE).open("rb") as file:
            last = ProgressReport.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError):
        last = ProgressReport(stage_started_at=now, updated_at=now)
    return last.model_copy(
        update={"stage": Stage.PUBLISHING, "stage_started_at": now, "updated_at": now, "rate": None, "eta_seconds": None}
    )
