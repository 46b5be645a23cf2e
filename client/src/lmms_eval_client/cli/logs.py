"""lmmeval logs."""

from typing import Annotated

import typer

from lmms_eval_client.cli.screen import note, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.client import Client
from lmms_eval_client.waiting import ENDED
from lmms_eval_core.wire import JobInfo


def logs(
    client: Client,
    job: Job,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more, over all attempts, until the job has ended.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(help="Of this attempt; the last one unless given.")] = None,
    tail: Annotated[int | None, typer.Option(help="Only so many of the last lines.", min=1)] = None,
) -> None:
    """Print a job's log: of its pod while it lives, of the store afterwards."""
    if tail and not follow:
        for line in client.log_tail(job, tail, attempt=attempt):
            say(line)
        return
    for line in client.stream_logs(job, attempt=attempt, follow=follow):
        say(line)
    if follow and attempt is None:
        _print_later_attempts(client, job)


def _print_later_attempts(client: Client, job_id: str) -> None:
    """Go on with the log of each attempt that follows."""
    shown = client.job(job_id).attempt or 1
    while (job := _wait_for_next_attempt(client, job_id, shown)) and job.attempt:
        note(f"--- attempt {job.attempt}")
        shown = job.attempt
        for line in client.stream_logs(job_id, attempt=shown):
            say(line)


def _wait_for_next_attempt(client: Client, job_id: str, shown: int) -> JobInfo | None:
    """Return the job as soon as it is in a later attempt; None when it has ended in this one."""
    for job in client.events(job_id):
        if (job.attempt or 0) > shown:
            return job
        if job.status in ENDED:
            break
    return None
