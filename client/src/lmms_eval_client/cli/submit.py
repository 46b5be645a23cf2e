"""lmmeval submit, rerun, watch: asking for evaluations, and waiting for them."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import ValidationError

from lmms_eval_client.cli import completion, files, flags, parsing
from lmms_eval_client.cli.connection import set_parameters
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.follow import follow
from lmms_eval_client.cli.screen import note, print_json, say
from lmms_eval_client.client import Client
from lmms_eval_client.errors import JobNotCompleted
from lmms_eval_core.wire import EvaluateRequest

JSON = dict[str, Any]

PANEL: Final = "This command"
# What a job was called is not what its repetition is called.
NOT_REPEATED: Final = frozenset({"name"})

Dry = Annotated[
    bool, typer.Option("--dry-run", help="Have it checked by the cluster; store nothing.", rich_help_panel=PANEL)
]
Wait = Annotated[
    bool,
    typer.Option("--wait", "-w", help="Wait for the results; the exit code says how it ended.", rich_help_panel=PANEL),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--wait-timeout", help="Wait no longer than so many seconds.", show_default=False, rich_help_panel=PANEL
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.", rich_help_panel=PANEL)]
File = Annotated[
    Path | None,
    typer.Option(
        "--filename",
        "-f",
        help="LMMEvaluations, or a configuration of lmms-eval; flags win over it.",
        rich_help_panel=PANEL,
    ),
]
Job = Annotated[str, typer.Argument(help="The job's id.", autocompletion=completion.complete_jobs)]


def add_evaluation_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command the flags of an evaluation; they arrive together as `given`."""

    def run(client: Client, **arguments: Any) -> None:
        given = {parameter.name: arguments.pop(parameter.name) for parameter in flags.list_parameters()}
        for warning in flags.list_warnings(given):
            note(f"warning: {warning}")
        command(client, given=flags.read_fields(given), **arguments)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    client, *own = inspect.signature(command, eval_str=True).parameters.values()
    own = [parameter for parameter in own if parameter.name != "given"]
    set_parameters(run, [client, *own, *flags.list_parameters()])
    return run


@add_evaluation_flags
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
    requests = [_make_request(merge_fields(fields, given)) for fields in _read_file(filename)]
    if len(requests) > 1 and given.get("name"):
        raise CliError("--name can be given to one evaluation only, and the file holds several.")
    _submit_all(client, requests, wait=wait, wait_timeout=wait_timeout, dry_run=dry_run, as_json=as_json)


@add_evaluation_flags
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
    _submit_all(
        client,
        [_make_request(merge_fields(kept, given))],
        wait=wait,
        wait_timeout=wait_timeout,
        dry_run=dry_run,
        as_json=as_json,
    )


def watch(client: Client, job: Job, *, wait_timeout: Timeout = None, as_json: AsJson = False) -> None:
    """Follow a job to its end; the exit code says how it ended."""
    follow(client, job, timeout=wait_timeout, as_json=as_json)


def _read_file(path: Path | None) -> list[JSON]:
    if path is None:
        return [{}]
    try:
        found = files.read_file(path, os.environ)
    except ValueError as error:
        raise CliError(f"{error}.") from error
    for warning in found.warnings:
        note(f"warning: {warning}")
    return found.requests


def merge_fields(fields: JSON, given: JSON) -> JSON:
    """Return `fields`, where what is `given` by flags wins: of the environment, variable by variable."""
    if not given.get("env"):
        return fields | given
    names = {entry["name"] for entry in given["env"]}
    kept = fields.get("env")
    others = [entry for entry in kept if _find_name(entry) not in names] if isinstance(kept, list) else []
    return fields | given | {"env": [*others, *given["env"]]}


def _find_name(entry: Any) -> Any:
    return entry.get("name") if isinstance(entry, dict) else None


def _make_request(fields: JSON) -> EvaluateRequest:
    for name in ("model", "tasks"):
        if not fields.get(name):
            raise CliError(f"Say which {name} by --{name}, or give a file by -f.")
    if problem := parsing.find_problem(fields):
        raise CliError(f"{problem}.")
    for warning in parsing.list_warnings(fields):
        note(f"warning: {warning}")
    try:
        return EvaluateRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise CliError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def _submit_all(
    client: Client,
    requests: list[EvaluateRequest],
    *,
    wait: bool,
    wait_timeout: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    jobs = [_submit(client, request, dry_run=dry_run, quiet=wait, as_json=as_json) for request in requests]
    if wait and not dry_run:
        _follow_all(client, jobs, timeout=wait_timeout, as_json=as_json)


def _follow_all(client: Client, jobs: list[str], *, timeout: float | None, as_json: bool) -> None:
    """Follow jobs one after the other, as they run; the first that ended badly decides how the command ends."""
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


def _submit(client: Client, request: EvaluateRequest, *, dry_run: bool, quiet: bool, as_json: bool) -> str:
    """Submit a request; return its id. Standard output belongs to the results where they are waited for."""
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
