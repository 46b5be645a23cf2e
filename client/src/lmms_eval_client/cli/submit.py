"""lmmeval submit, rerun, watch: asking for evaluations, and waiting for them."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from lmms_eval_client.cli import completion, files, flags, parsing
from lmms_eval_client.cli.connection import with_parameters
from lmms_eval_client.cli.exits import CommandFailed
from lmms_eval_client.cli.follow import follow
from lmms_eval_client.cli.screen import note, print_json, say
from lmms_eval_client.client import Client
from lmms_eval_client.errors import JobNotCompleted
from lmms_eval_core.wire import EvaluateRequest

JSON = dict[str, Any]

PANEL: Final = "This command"
# What a job was called is not what its repetition is called.
NOT_REPEATED: Final = frozenset({"name"})

Dry = Annotated[bool, typer.Option("--dry-run", help="Have it checked by the cluster; store nothing.", rich_help_panel=PANEL)]
Wait = Annotated[
    bool, typer.Option("--wait", "-w", help="Wait for the results; the exit code says how it ended.", rich_help_panel=PANEL)
]
Timeout = Annotated[
    float | None,
    typer.Option("--wait-timeout", help="Wait no longer than so many seconds.", show_default=False, rich_help_panel=PANEL),
]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.", rich_help_panel=PANEL)]
File = Annotated[
    Path | None,
    typer.Option(
        "--filename", "-f", help="LMMEvaluations, or a configuration of lmms-eval; flags win over it.", rich_help_panel=PANEL
    ),
]
Job = Annotated[str, typer.Argument(help="The job's id.", autocompletion=completion.jobs)]


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Gives the command the flags of an evaluation; they arrive together as `given`."""

    def run(client: Client, **arguments: Any) -> None:
        given = {parameter.name: arguments.pop(parameter.name) for parameter in flags.parameters()}
        for warning in flags.warnings(given):
            note(f"warning: {warning}")
        command(client, given=flags.fields(given), **arguments)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    client, *own = inspect.signature(command, eval_str=True).parameters.values()
    own = [parameter for parameter in own if parameter.name != "given"]
    with_parameters(run, [client, *own, *flags.parameters()])
    return run


@asking
def submit(
    client: Client,
    *,
    given: JSON,
    filename: File = None,
    wait: Wait = False,
    wait_timeout: Timeout = None,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Submit an evaluation. Its id goes to standard output."""
    requests = [_request(merged(fields, given)) for fields in _of_file(filename)]
    if len(requests) > 1 and given.get("name"):
        raise CommandFailed("--name can be given to one evaluation only, and the file holds several.")
    _ask(client, requests, wait=wait, wait_timeout=wait_timeout, dry_run=dry_run, as_json=as_json)


@asking
def rerun(
    client: Client,
    job: Job,
    *,
    given: JSON,
    wait: Wait = False,
    wait_timeout: Timeout = None,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job's request again, changed by the flags that are given."""
    stored = client.job(job).request
    kept = {name: value for name, value in stored.items() if value is not None and name not in NOT_REPEATED}
    _ask(client, [_request(merged(kept, given))], wait=wait, wait_timeout=wait_timeout, dry_run=dry_run, as_json=as_json)


def watch(client: Client, job: Job, *, wait_timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Follow a job to its end; the exit code says how it ended."""
    follow(client, job, timeout=wait_timeout, as_json=as_json)


def _of_file(path: Path | None) -> list[JSON]:
    if path is None:
        return [{}]
    try:
        found = files.read(path, os.environ)
    except ValueError as error:
        raise CommandFailed(f"{error}.") from error
    for warning in found.warnings:
        note(f"warning: {warning}")
    return found.requests


def merged(fields: JSON, given: JSON) -> JSON:
    """`fields`, where what is `given` by flags wins: of the environment, variable by variable."""
    if not given.get("env"):
        return fields | given
    names = {entry["name"] for entry in given["env"]}
    kept = fields.get("env")
    others = [entry for entry in kept if _name_of(entry) not in names] if isinstance(kept, list) else []
    return fields | given | {"env": [*others, *given["env"]]}


def _name_of(entry: Any) -> Any:
    return entry.get("name") if isinstance(entry, dict) else None


def _request(fields: JSON) -> EvaluateRequest:
    for name in ("model", "tasks"):
        if not fields.get(name):
            raise CommandFailed(f"Say which {name} by --{name}, or give a file by -f.")
    if problem := parsing.problem(fields):
        raise CommandFailed(f"{problem}.")
    for warning in parsing.warnings(fields):
        note(f"warning: {warning}")
    try:
        return EvaluateRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CommandFailed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def _ask(
    client: Client, requests: list[EvaluateRequest], *, wait: bool, wait_timeout: float | None, dry_run: bool, as_json: bool
) -> None:
    jobs = [_submitted(client, request, dry_run=dry_run, quiet=wait, as_json=as_json) for request in requests]
    if wait and not dry_run:
        _follow_all(client, jobs, timeout=wait_timeout, as_json=as_json)


def _follow_all(client: Client, jobs: list[str], *, timeout: float | None, as_json: bool) -> None:
    """One after the other, as they run; the first that came to a bad end decides how the command ends."""
    first: JobNotCompleted | None = None
    for job in jobs:
        try:
            follow(client, job, timeout=timeout, as_json=as_json)
        except JobNotCompleted as error:
            if len(jobs) > 1:
                note(f"{job}: {error}")
            first = first or error
    if first:
        raise first


def _submitted(client: Client, request: EvaluateRequest, *, dry_run: bool, quiet: bool, as_json: bool) -> str:
    """Submits it; its id. Standard output belongs to the results where they are waited for."""
    answer = client.submit(request, dry_run=dry_run)
    for warning in answer.warnings:
        note(f"warning: {warning}")
    if dry_run or quiet:
        note(f"{answer.job_id}: {answer.message}")
    elif as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        note(answer.message)
        say(answer.job_id)
    return answer.job_id
