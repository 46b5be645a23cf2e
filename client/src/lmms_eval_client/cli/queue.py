"""lmmeval queue and top: what runs, what waits, what has ended."""

import itertools
import sys
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from lmms_eval_client.cli.exits import describe_error
from lmms_eval_client.cli.jobs import COLUMNS, AsJson, format_row
from lmms_eval_client.cli.screen import build_table, print_json, print_table, say
from lmms_eval_client.cli.text import UNKNOWN, clean
from lmms_eval_client.client import Client
from lmms_eval_client.errors import AnswerUnreadable, LmmsEvalError, NotAuthorized, NotFound, ServerBusy, ServerRefused
from lmms_eval_core.wire import JobStatus, JobSummary

RECENT = 5
MAX_QUEUED = 15


def queue(client: Client, *, as_json: AsJson = False) -> None:
    """List what runs and what waits, in the order in which it starts."""
    if as_json:
        print_json(client.queue().model_dump(mode="json"))
        return
    jobs = _sort_jobs(client)
    print_table(("POSITION", *COLUMNS), [[_format_position(job), *format_row(job)] for job in jobs])


def top(
    client: Client,
    *,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look; so it is in a pipe.")] = False,
) -> None:
    """Watch the queue, what runs, and what ended last. Ctrl-C ends it."""
    rows: list[list[str]] = []
    if once or not sys.stdout.isatty():
        headline, rows = _read_queue(client)
        say(headline)
        print_table(COLUMNS, rows)
        return
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            try:
                headline, rows = _read_queue(client)
            except NotAuthorized:
                raise
            except LmmsEvalError as error:
                # The next look may be answered; until then the last one stays.
                headline = f"no answer: {clean(describe_error(error))}"
            live.update(
                Group(Text(headline, style="bold"), build_table(COLUMNS, rows, width=live.console.width)), refresh=True
            )
            time.sleep(interval)


def _read_queue(client: Client) -> tuple[str, list[list[str]]]:
    """A headline and the rows below it: what runs, what comes next, what ended last."""
    counts = client.queue()
    running = list(client.jobs(status=("running",)))
    # Lists are by age; of a long queue only what comes next is asked for, one by one.
    queued = [job for name in counts.queued_jobs[:MAX_QUEUED] if (job := _read_queued_row(client, name))]
    ended = itertools.islice(client.jobs(status=("completed", "failed", "cancelled"), page_size=RECENT), RECENT)
    shown = f"{len(running)} running, {counts.queue_size} queued"
    headline = f"{shown}, {counts.completed_jobs} completed, {counts.failed_jobs} failed"
    return headline, [*map(format_row, running), *queued, *map(format_row, ended)]


def _read_queued_row(client: Client, job_id: str) -> list[str] | None:
    """The row of a job that waits.

    None if it does so no more. One that cannot be read must not cost the others their rows.
    """
    try:
        job = client.job(job_id)
    except NotFound:
        return None
    except (AnswerUnreadable, ServerRefused) as error:
        if isinstance(error, NotAuthorized | ServerBusy):
            raise
        return [job_id, JobStatus.QUEUED, clean(describe_error(error)), *[UNKNOWN] * (len(COLUMNS) - 3)]
    return format_row(job) if job.status is JobStatus.QUEUED else None


def _sort_jobs(client: Client) -> list[JobSummary]:
    """Running ones first, then the queue; what is on hold is last."""
    jobs = list(client.jobs(status=("running", "queued"), page_size=500))
    return sorted(
        jobs,
        key=lambda job: (job.status is not JobStatus.RUNNING, job.hold, job.position_in_queue or 0, job.created_at),
    )


def _format_position(job: JobSummary) -> str:
    if job.status is JobStatus.RUNNING:
        return "running"
    return "on hold" if job.hold else str(job.position_in_queue)
