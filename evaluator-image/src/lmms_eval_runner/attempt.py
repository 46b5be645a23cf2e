"""One attempt, from its input to its outcome: prepares the run directory, runs the harness in it, has the outcome
decided.
"""

import os
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Set
from pathlib import Path
from typing import BinaryIO, Final

from lmms_eval_core.log_marks import FIRST
from lmms_eval_core.phases import Reason
from lmms_eval_core.redact import Redactor, plain
from lmms_eval_core.run import (
    JOURNAL_DIRECTORY,
    LOG_FILE,
    MEDIA_DIRECTORY,
    OUTPUT_DIRECTORY,
    PROGRESS_FILE,
    RUN_FILE,
    WORK_DIRECTORY,
    Outcome,
    ProgressReport,
    RunInput,
    RunRecord,
    write_atomically,
)

from .arguments import build_command
from .container_memory import read_memory_kills
from .disk import DiskWatch, list_writable_mounts
from .environment import build_harness_environment
from .harness_log import LogCopy, LogFile, open_raw_log
from .harness_log_watch import HarnessLogWatch
from .harness_process import HarnessProcess
from .meter import MARKS_FILE
from .outcome import RunArtifacts, add_versions, decide_outcome, explain_runner_error, find_refusal, make_outcome
from .output_files import empty_folder, find_output_files, list_task_files
from .read_ahead import ReadAhead
from .redaction import find_secrets, hide_secrets
from .supervise import StopRequest, supervise

# Room for the end of the log and for the outcome where the harness has filled the volume of the run directory.
RESERVE_FILE: Final = ".reserve"
RESERVE_BYTES: Final = 2 * 1024 * 1024


def run_attempt(
    run: RunInput, *, directory: Path, environ: Mapping[str, str], mirror: BinaryIO, stop: StopRequest
) -> Outcome:
    """Run `run` in `directory`. What the harness prints goes to `log.txt` and to `mirror`, without secrets.

    An unexpected error of the runner is an outcome too: without one the attempt would count as interrupted, and be
    repeated.
    """
    try:
        return _run_attempt(run, directory=directory, environ=environ, mirror=mirror, stop=stop)
    except Exception as error:  # noqa: BLE001
        redact = Redactor(find_secrets(environ, run.secret_env))
        print(_clean(traceback.format_exc(), redact), file=sys.stderr, flush=True)
        (directory / RESERVE_FILE).unlink(missing_ok=True)
        outcome = add_versions(explain_runner_error(error))
        outcome.message = _clean(outcome.message, redact)
        return outcome


def _clean(text: str, redact: Redactor) -> str:
    """Return `text` as it may leave the pod.

    Bytes of file names that are no UTF-8 become `?`: no JSON can hold them.
    """
    return redact(plain(text)).encode("utf-8", "replace").decode()


def _run_attempt(
    run: RunInput, *, directory: Path, environ: Mapping[str, str], mirror: BinaryIO, stop: StopRequest
) -> Outcome:
    _prepare(run, directory)
    if refusal := find_refusal(run):
        return add_versions(refusal)
    with open_raw_log() as raw, LogFile(directory / LOG_FILE) as log_file:
        watch = HarnessLogWatch()
        secrets = find_secrets(environ, run.secret_env)
        redact = Redactor(secrets)
        log = LogCopy(raw, (log_file, mirror), redact=redact, clock=time.monotonic, on_line=watch.read_line)
        outcome = _run_harness(
            run, directory, environ=environ, secrets=secrets, raw=raw, log=log, watch=watch, stop=stop
        )
        outcome.message = _clean(outcome.message, redact)
        log.add_line(f"{outcome.reason}: {outcome.message}" if outcome.message else outcome.reason)
    return outcome


def _prepare(run: RunInput, directory: Path) -> None:
    now = time.time()
    record = RunRecord(**dict(run), input_fingerprint=run.compute_fingerprint())
    write_atomically(directory / RUN_FILE, record.to_json())
    write_atomically(directory / PROGRESS_FILE, ProgressReport(stage_started_at=now, updated_at=now).to_json())
    (directory / MARKS_FILE).unlink(missing_ok=True)
    for folder in (OUTPUT_DIRECTORY, WORK_DIRECTORY, JOURNAL_DIRECTORY, MEDIA_DIRECTORY):
        empty_folder(directory / folder)
    with (directory / RESERVE_FILE).open("wb") as reserve:
        os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)


def _run_harness(
    run: RunInput,
    directory: Path,
    *,
    environ: Mapping[str, str],
    secrets: Set[str],
    raw: int,
    log: LogCopy,
    watch: HarnessLogWatch,
    stop: StopRequest,
) -> Outcome:
    argv = build_command(run, python=sys.executable, output=directory / OUTPUT_DIRECTORY, port=_find_free_port())
    log.add_line(f"{FIRST}{run.attempt} of {run.namespace}/{run.name}: {shlex.join(argv)}")
    started_at, kills, mount_points = time.time(), read_memory_kills(), list_writable_mounts()
    with DiskWatch(mount_points) as disks:
        try:
            environment = build_harness_environment(environ, run_directory=directory, trusted=run.trust_remote_code)
            process = HarnessProcess(argv, environment=environment, directory=directory / WORK_DIRECTORY, output=raw)
        except OSError as error:
            return add_versions(make_outcome(Reason.BAD_ARGUMENTS, f"lmms-eval could not be started: {error}"))
        # From the moment that the adapter is made, the harness itself reads.
        with ReadAhead(run.harness.model_args, environ, wanted=lambda: not (directory / MARKS_FILE).exists()) as ahead:
            harness_exit = supervise(process, log, watch=watch, stop=stop)
        full = disks.list_full()
    # Nobody is left to take the room before the log, the outcome and the reporter's words have it.
    (directory / RESERVE_FILE).unlink(missing_ok=True)
    if summary := str(ahead):
        log.add_line(summary)
    _hide_secrets(secrets, run, directory, log)
    artifacts = RunArtifacts(
        run=run,
        directory=directory,
        exit=harness_exit,
        watch=watch,
        memory_kills=read_memory_kills() - kills,
        full=full,
        mount_points=mount_points,
        started_at=started_at,
        ended_at=time.time(),
    )
    return decide_outcome(artifacts)


def _hide_secrets(secrets: Set[str], run: RunInput, directory: Path, log: LogCopy) -> None:
    files = find_output_files(run, directory)
    own = [*([files.results] if files.results else ()), *files.samples.values()]
    for path in hide_secrets(secrets, [directory / path for path in (*own, *list_task_files(files, directory))]):
        log.add_line(f"a secret was hidden in {path.name}")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
