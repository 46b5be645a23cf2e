"""One attempt, from its input to its outcome: prepares the run directory, runs the harness in it, judges what it left."""

import errno
import os
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Set
from pathlib import Path
from typing import BinaryIO, Final

from lmms_eval_core.log import FIRST
from lmms_eval_core.paths import include_path_problem
from lmms_eval_core.phases import Reason
from lmms_eval_core.redact import Redactor, plain
from lmms_eval_core.run import (
    LOG_FILE,
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

from .arguments import command, not_a_task, problem
from .child import Child
from .classify import Verdict, disk_full
from .clean_files import hide
from .disk import DiskWatch, writable_mounts
from .environment import harness_environment
from .judge import Remains, judge, refused
from .log import LogCopy, LogFile, raw_log
from .memory import memory_kills
from .meter import MARKS_FILE
from .output import empty_folder, find_output, task_files
from .read_ahead import ReadAhead
from .redaction import secrets
from .stop import StopRequest
from .supervise import supervise
from .watch import LogWatch

# Room for the end of the log and for the outcome where the harness has filled the volume of the run directory.
RESERVE_FILE: Final = ".reserve"
RESERVE_BYTES: Final = 2 * 1024 * 1024
MAX_MESSAGE: Final = 1024


def attempt(run: RunInput, *, directory: Path, environ: Mapping[str, str], mirror: BinaryIO, stop: StopRequest) -> Outcome:
    """Runs `run` in `directory`. What the harness prints goes to `log.txt` and to `mirror`, without secrets.

    What the runner itself did not expect is an outcome too: without one the attempt would count as interrupted, and be repeated.
    """
    try:
        return _attempt(run, directory=directory, environ=environ, mirror=mirror, stop=stop)
    except Exception as error:  # noqa: BLE001
        redact = Redactor(secrets(environ, run.secret_env))
        print(_shown(traceback.format_exc(), redact), file=sys.stderr, flush=True)
        (directory / RESERVE_FILE).unlink(missing_ok=True)
        outcome = refused(_unexpected(error))
        outcome.message = _shown(outcome.message, redact)
        return outcome


def _shown(text: str, redact: Redactor) -> str:
    """`text` as it may leave the pod. File names of other bytes than UTF-8 become question marks: no JSON can hold them."""
    return redact(plain(text)).encode("utf-8", "replace").decode()


def _unexpected(error: Exception) -> Verdict:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(str(error), writable_mounts())
    return Verdict(Reason.EVALUATION_ERROR, f"the runner failed: {type(error).__name__}: {error}"[:MAX_MESSAGE])


def _attempt(run: RunInput, *, directory: Path, environ: Mapping[str, str], mirror: BinaryIO, stop: StopRequest) -> Outcome:
    _prepare(run, directory)
    if verdict := _refusal(run):
        return refused(verdict)
    with raw_log() as raw, LogFile(directory / LOG_FILE) as log_file:
        watch = LogWatch()
        known = secrets(environ, run.secret_env)
        redact = Redactor(known)
        log = LogCopy(raw, (log_file, mirror), redact=redact, clock=time.monotonic, see=watch.see)
        outcome = _run(run, directory, environ=environ, known=known, raw=raw, log=log, watch=watch, stop=stop)
        outcome.message = _shown(outcome.message, redact)
        log.note(f"{outcome.reason}: {outcome.message}" if outcome.message else outcome.reason)
    return outcome


def _prepare(run: RunInput, directory: Path) -> None:
    now = time.time()
    record = RunRecord(**dict(run), input_fingerprint=run.fingerprint())
    write_atomically(directory / RUN_FILE, record.to_json())
    write_atomically(directory / PROGRESS_FILE, ProgressReport(stage_started_at=now, updated_at=now).to_json())
    (directory / MARKS_FILE).unlink(missing_ok=True)
    for folder in (OUTPUT_DIRECTORY, WORK_DIRECTORY):
        empty_folder(directory / folder)
    with (directory / RESERVE_FILE).open("wb") as reserve:
        os.posix_fallocate(reserve.fileno(), 0, RESERVE_BYTES)


def _refusal(run: RunInput) -> Verdict | None:
    if sentence := problem(run.harness):
        return Verdict(Reason.BAD_ARGUMENTS, sentence)
    if word := not_a_task(run.harness):
        return Verdict(Reason.TASK_NOT_FOUND, f"'{word}' is not a task but a request for a list; check spec.tasks")
    # A link in a volume may lead to where admission lets nobody load code from.
    folder = run.harness.include_path
    if folder and (sentence := include_path_problem(os.path.realpath(folder))):
        return Verdict(Reason.BAD_ARGUMENTS, f"spec.includePath {folder} leads to {os.path.realpath(folder)}, which {sentence}")
    return None


def _run(
    run: RunInput,
    directory: Path,
    *,
    environ: Mapping[str, str],
    known: Set[str],
    raw: int,
    log: LogCopy,
    watch: LogWatch,
    stop: StopRequest,
) -> Outcome:
    argv = command(run, python=sys.executable, output=directory / OUTPUT_DIRECTORY, port=_free_port())
    log.note(f"{FIRST}{run.attempt} of {run.namespace}/{run.name}: {shlex.join(argv)}")
    started_at, kills, mount_points = time.time(), memory_kills(), writable_mounts()
    with DiskWatch(mount_points) as disks:
        try:
            environment = harness_environment(environ, run_directory=directory, trusted=run.trust_remote_code)
            child = Child(argv, environment=environment, directory=directory / WORK_DIRECTORY, output=raw)
        except OSError as error:
            return refused(Verdict(Reason.BAD_ARGUMENTS, f"lmms-eval could not be started: {error}"))
        # From the moment that the adapter is made, the harness itself reads.
        with ReadAhead(run.harness.model_args, environ, wanted=lambda: not (directory / MARKS_FILE).exists()) as ahead:
            end = supervise(child, log, watch=watch, stop=stop)
        full = disks.full()
    # Nobody is left to take the room before the log, the outcome and the reporter's words have it.
    (directory / RESERVE_FILE).unlink(missing_ok=True)
    if done := str(ahead):
        log.note(done)
    _hide(known, run, directory, log)
    remains = Remains(
        run=run,
        directory=directory,
        end=end,
        watch=watch,
        memory_kills=memory_kills() - kills,
        full=full,
        mount_points=mount_points,
        started_at=started_at,
        ended_at=time.time(),
    )
    return judge(remains)


def _hide(known: Set[str], run: RunInput, directory: Path, log: LogCopy) -> None:
    output = find_output(run, directory)
    own = [*([output.results] if output.results else ()), *output.samples.values()]
    for path in hide(known, [directory / path for path in (*own, *task_files(output, directory))]):
        log.note(f"a secret was hidden in {path.name}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
