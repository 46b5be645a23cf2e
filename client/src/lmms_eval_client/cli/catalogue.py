"""lmmeval tasks and models: what can be asked for."""

from typing import Annotated

import typer

from lmms_eval_client.cli.exits import CliError, ExitCode
from lmms_eval_client.cli.jobs import AsJson
from lmms_eval_client.cli.screen import note, print_json, print_table, say
from lmms_eval_client.cli.text import UNKNOWN
from lmms_eval_client.client import Client
from lmms_eval_core.wire import ListedTask, ModelList, TaskList

MAX_MEMBERS = 3
Query = Annotated[str | None, typer.Argument(help="Only those with this in their name.")]


def tasks(
    client: Client,
    query: Query = None,
    *,
    details: Annotated[bool, typer.Option("--details", help="Kind, data set, metrics, members.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tasks, groups and tags, one a line."""
    found = client.tasks(query)
    _raise_error(found)
    listed = [task for task in found.tasks if isinstance(task, ListedTask)]
    if as_json:
        print_json([task.model_dump(mode="json") for task in listed])
    elif not listed:
        note("No tasks.")
    elif details:
        print_table(("NAME", "KIND", "DATASET", "OUTPUT", "METRICS", "MEMBERS"), [_format_row(task) for task in listed])
    else:
        for task in listed:
            say(task.name)


def models(client: Client, query: Query = None, *, as_json: AsJson = False) -> None:
    """List model adapters, one a line; those that the evaluator image cannot use with the reason."""
    found = client.models()
    _raise_error(found)
    names = [name for name in found.models if isinstance(name, str) and (query or "") in name]
    if as_json:
        print_json(
            {"models": names, "unavailable": {name: why for name, why in found.unavailable.items() if name in names}}
        )
        return
    for name in names:
        why = found.unavailable.get(name)
        say(f"{name}   (not usable: {why})" if why else name)
    if not names:
        note("No models.")


def _raise_error(found: TaskList | ModelList) -> None:
    if found.error:
        raise CliError(found.error, ExitCode.UNREACHABLE)


def _format_row(task: ListedTask) -> list[str]:
    more = f" +{len(task.members) - MAX_MEMBERS}" if len(task.members) > MAX_MEMBERS else ""
    members = ",".join(task.members[:MAX_MEMBERS]) + more
    cells = (task.kind, task.dataset, task.output_type, ",".join(task.metrics), members)
    return [task.name, *(cell or UNKNOWN for cell in cells)]
