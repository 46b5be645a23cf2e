"""Waiting for a job in front of a person: a bar in a terminal, a line for each change in a pipe.

All on standard error.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from lmms_eval_client.cli.exits import CliError, ExitCode
from lmms_eval_client.cli.screen import STYLES, note, print_json, say
from lmms_eval_client.cli.text import clean, describe_state, format_duration
from lmms_eval_client.client import Client
from lmms_eval_client.results import Results
from lmms_eval_core.wire import JobInfo, JobStatus

Display = Callable[[JobInfo], None]
# A line for every tenth of the way is enough for a log.
STEP_PERCENT: Final = 10


def follow(client: Client, job_id: str, *, timeout: float | None, as_json: bool) -> None:
    """Show a job until it has ended, then its scores. JobFailed, JobCancelled, WaitTimedOut."""
    try:
        with _choose_display(job_id) as show:
            job = client.wait(job_id, timeout=timeout, on_change=show)
    except KeyboardInterrupt as error:
        note(f"\n{job_id} goes on. Follow it with: lmmeval watch {job_id}\nStop it with:   lmmeval cancel {job_id}")
        raise CliError("", ExitCode.INTERRUPTED) from error
    show_results(job, as_json=as_json)


def show_results(job: JobInfo, *, as_json: bool) -> None:
    """Print the scores as lmms-eval does, after what is doubtful about them."""
    print_warnings(job)
    if as_json:
        print_json(job.model_dump(mode="json"))
    elif job.output:
        say(Results(job.output).table())
    else:
        say(job.summary or f"{job.job_id} is completed.")


def print_warnings(job: JobInfo) -> None:
    """Print on standard error what is doubtful about the results of a job."""
    for warning in job.warnings:
        note(f"warning: {warning}")


@contextmanager
def _choose_display(job_id: str) -> Iterator[Display]:
    if not sys.stderr.isatty():
        yield _LineDisplay()
        return
    with _make_bar() as progress:
        yield _BarDisplay(progress, job_id)


class _LineDisplay:
    """One line for each thing that is new."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()

    def __call__(self, job: JobInfo) -> None:
        percent = (job.progress.percent if job.progress else None) or 0
        seen = (job.status, job.reason, job.position_in_queue, job.message, job.attempt, percent // STEP_PERCENT)
        if seen != self._last:
            self._last = seen
            note(f"{job.job_id}: {describe_state(job)}")


def _make_bar() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[pace]}"),
    )
    # Its place is left to the results.
    return Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)


class _BarDisplay:
    """One line that moves: state and reason, how far, how fast, how long it will take."""

    def __init__(self, progress: Progress, job_id: str) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(job_id, total=None, pace="")

    def __call__(self, job: JobInfo) -> None:
        done = job.progress
        total = done.total if done and job.status is JobStatus.RUNNING else None
        self._progress.update(
            self._task,
            description=f"[{STYLES[job.status]}]{escape(describe_state(job))}[/]",
            total=total,
            completed=(done.completed or 0) if done and total else 0,
            pace=_format_pace(job),
        )


def _format_pace(job: JobInfo) -> str:
    done = job.progress
    if done is None or job.status is not JobStatus.RUNNING:
        return ""
    rate = f"{done.rate:.2g}/s" if done.rate else ""
    left = f"{format_duration(done.eta_seconds)} left" if done.eta_seconds else ""
    return clean(" ".join(part for part in (rate, left) if part))
