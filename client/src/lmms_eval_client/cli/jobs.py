"""lmmeval ls, get, cancel, update: the jobs that there are."""

import itertools
from typing import Annotated, Any

import typer

from lmms_eval_client.cli import completion
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.follow import show_results
from lmms_eval_client.cli.screen import note, print_json, print_table, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.cli.text import (
    UNKNOWN,
    clean,
    describe_attempt,
    describe_state,
    format_age,
    format_progress,
    read_now,
)
from lmms_eval_client.client import Client
from lmms_eval_client.errors import LmmsEvalError
from lmms_eval_core.wire import JobInfo, JobStatus, JobSummary

COLUMNS = ("JOB", "STATUS", "REASON", "MODEL", "TASKS", "PROGRESS", "SCORE", "AGE")
MAX_TASKS = 2

AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
Status = Annotated[
    list[JobStatus] | None, typer.Option("--status", metavar="STATUS", help="Only these; more than one may be given.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", "-l", metavar="KEY[=VALUE]", help="Only with this label.")]
Jobs = Annotated[list[str], typer.Argument(help="Ids of jobs.", autocompletion=completion.complete_jobs)]


def ls(
    client: Client,
    *,
    status: Status = None,
    model: Annotated[str | None, typer.Option(help="Only of this model adapter.")] = None,
    task: Annotated[str | None, typer.Option(help="Only with this task.")] = None,
    label: Labels = None,
    limit: Annotated[int, typer.Option(help="At most so many; 0 for all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    page = min(limit or 500, 500)
    found = client.jobs(
        status=[one.value for one in status or ()], model=model, task=task, labels=label or (), page_size=page
    )
    jobs = list(itertools.islice(found, limit or None))
    if as_json:
        print_json([job.model_dump(mode="json") for job in jobs])
    elif jobs:
        print_table(COLUMNS, [format_row(job) for job in jobs])
    else:
        note("No jobs.")


def get(client: Client, job: Job, *, as_json: AsJson = False) -> None:
    """Show a job: state, request, attempts, scores."""
    found = client.job(job)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    for name, value in describe_job(found):
        say(f"{name + ':':<10} {value}")
    if found.error:
        say(f"\n{found.error}")
    if found.status is JobStatus.COMPLETED:
        say("")
        show_results(found, as_json=False)


def cancel(client: Client, jobs: Jobs) -> None:
    """Cancel jobs, queued or running."""
    problems = []
    for job in jobs:
        try:
            say(client.cancel(job))
        except LmmsEvalError as error:
            problems.append(error)
            note(f"{job}: {error}")
    if problems:
        raise problems[0] if len(jobs) == 1 else CliError(f"{len(problems)} of {len(jobs)} could not be cancelled.")


def update(
    client: Client,
    job: Job,
    *,
    priority: Annotated[int | None, typer.Option(help="Higher starts first, -100 to 100.")] = None,
    hold: Annotated[bool | None, typer.Option("--hold/--release-hold", help="Keep it queued, or let it go.")] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", help="Delete it so many seconds after its end.")] = None,
    keep: Annotated[
        bool | None, typer.Option("--keep/--release-keep", help="Keep it until somebody deletes it, or no longer.")
    ] = None,
) -> None:
    """Change a job's place in the queue, or how long it stays."""
    wanted = {"priority": priority, "hold": hold, "ttl_seconds_after_finished": ttl, "keep": keep}
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if not changes:
        raise CliError("Say what to change: --priority, --hold, --release-hold, --ttl, --keep or --release-keep.")
    say(f"{job}: {describe_state(client.update(job, **changes))}")


def format_row(job: JobSummary | JobInfo) -> list[str]:
    """Return a job in the columns of a list."""
    model, tasks = (job.model, job.tasks) if isinstance(job, JobSummary) else _read_request(job.request)
    more = f" +{len(tasks) - MAX_TASKS}" if len(tasks) > MAX_TASKS else ""
    cells = [job.job_id, job.status, job.reason or UNKNOWN, model, ",".join(tasks[:MAX_TASKS]) + more]
    return [*cells, format_progress(job.progress), job.summary or UNKNOWN, format_age(job.created_at, read_now())]


def _read_request(request: dict[str, Any]) -> tuple[str, list[str]]:
    """Return model and tasks of a request, which an older front end may have kept in any form."""
    tasks = request.get("tasks")
    return str(request.get("model") or UNKNOWN), [str(task) for task in tasks] if isinstance(tasks, list) else []


def describe_job(job: JobInfo) -> list[tuple[str, str]]:
    """Return headings and what a person wants to know of a job."""
    request = {name: value for name, value in job.request.items() if value not in (None, [], {})}
    lines = [
        ("Job", job.job_id),
        ("State", describe_state(job)),
        ("Created", f"{job.created_at} ({format_age(job.created_at, read_now())} ago)"),
    ]
    lines += [(name, moment) for name, moment in (("Started", job.started_at), ("Ended", job.completed_at)) if moment]
    lines += [("Priority", f"{job.priority}{', on hold' if job.hold else ''}")] if job.priority or job.hold else []
    lines += [("Labels", ", ".join(f"{key}={value}" for key, value in job.labels.items()))] if job.labels else []
    lines += [("Request", ", ".join(f"{name}={value}" for name, value in request.items()))]
    for attempt in job.attempts:
        lines.append((f"Attempt {attempt.number}", describe_attempt(attempt)))
    return [(name, clean(value)) for name, value in lines]
