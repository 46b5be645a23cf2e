"""lmmeval queue and top: what runs, what waits, what has ended."""

import itertools
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from lmms_eval_client.cli.jobs import COLUMNS, AsJson, row
from lmms_eval_client.cli.screen import coloured, print_json, print_table, say
from lmms_eval_client.client import Client
from lmms_eval_core.wire import JobSummary

RECENT = 5
MAX_QUEUED = 20


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
            live.update(Group(Text(headline, style="bold"), coloured(COLUMNS, rows)), refresh=True)
            time.sleep(interval)


def _look(client: Client) -> tuple[str, list[list[str]]]:
    counts = client.queue()
    ended: Any = client.jobs(status=("completed", "failed", "cancelled"), page_size=RECENT)
    active = _in_order(client)
    running = sum(job.status == "running" for job in active)
    headline = f"{running} running, {counts.queue_size} queued, {counts.completed_jobs} completed, {counts.failed_jobs} failed"
    jobs = [*active[:MAX_QUEUED], *itertools.islice(ended, RECENT)]
    return headline, [row(job) for job in jobs]


def _in_order(client: Client) -> list[JobSummary]:
    """Running ones first, then the queue; what is on hold is last."""
    jobs = list(client.jobs(status=("running", "queued"), page_size=500))
    return sorted(jobs, key=lambda job: (job.status != "running", job.hold, job.position_in_queue or 0, job.created_at))


def _position(job: JobSummary) -> str:
    if job.status == "running":
        return "running"
    return "on hold" if job.hold else str(job.position_in_queue)
