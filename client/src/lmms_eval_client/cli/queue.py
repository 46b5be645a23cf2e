"""lmmeval queue and top: what runs, what waits, what has ended."""

import itertools
import sys
import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from lmms_eval_client.cli.jobs import COLUMNS, AsJson, row
from lmms_eval_client.cli.screen import coloured, print_json, print_table, say
from lmms_eval_client.client import Client
from lmms_eval_core.wire import JobInfo, JobStatus, JobSummary

RECENT = 5
MAX_QUEUED = 15


def queue(client: Client, *, as_json: AsJson = False) -> None:
    """List what runs and what waits, in the order in which it starts."""
    if as_json:
        print_json(client.queue().model_dump(mode="json"))
        return
    jobs = _in_order(client)
    print_table(("POSITION", *COLUMNS), [[_position(job), *row(job)] for job in jobs])


def top(
    client: Client,
    *,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look; so it is in a pipe.")] = False,
) -> None:
    """Watch the queue, what runs, and what ended last. Ctrl-C ends it."""
    if once or not sys.stdout.isatty():
        headline, rows = _look(client)
        say(headline)
        print_table(COLUMNS, rows)
        return
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            headline, rows = _look(client)
            live.update(Group(Text(headline, style="bold"), coloured(COLUMNS, rows, width=live.console.width)), refresh=True)
            time.sleep(interval)


def _look(client: Client) -> tuple[str, list[list[str]]]:
    """A headline and the rows below it: what runs, what comes next, what ended last."""
    counts = client.queue()
    running = list(client.jobs(status=("running",)))
    # Lists are by age; of a long queue only what comes next is asked for, one by one.
    queued = [job for job in map(client.job, counts.queued_jobs[:MAX_QUEUED]) if job.status is JobStatus.QUEUED]
    ended = itertools.islice(client.jobs(status=("completed", "failed", "cancelled"), page_size=RECENT), RECENT)
    shown = f"{len(running)} running, {counts.queue_size} queued"
    headline = f"{shown}, {counts.completed_jobs} completed, {counts.failed_jobs} failed"
    jobs: list[JobSummary | JobInfo] = [*running, *queued, *ended]
    return headline, [row(job) for job in jobs]


def _in_order(client: Client) -> list[JobSummary]:
    """Running ones first, then the queue; what is on hold is last."""
    jobs = list(client.jobs(status=("running", "queued"), page_size=500))
    return sorted(
        jobs, key=lambda job: (job.status is not JobStatus.RUNNING, job.hold, job.position_in_queue or 0, job.created_at)
    )


def _position(job: JobSummary) -> str:
    if job.status is JobStatus.RUNNING:
        return "running"
    return "on hold" if job.hold else str(job.position_in_queue)
