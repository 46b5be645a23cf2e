"""lmmeval results and samples: what came out."""

import csv
import itertools
import json
import sys
from typing import Annotated, Any, Literal

import typer

from lmms_eval_client.cli.exits import CommandFailed
from lmms_eval_client.cli.follow import warn
from lmms_eval_client.cli.screen import print_json, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.cli.text import csv_cell
from lmms_eval_client.client import Client
from lmms_eval_client.table import HEADINGS

MAX_SHOWN = 400
SHOWN_FIRST = ("doc_id", "input", "target", "filtered_resps")


def results(
    client: Client,
    job: Job,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The results file of lmms-eval, whole.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV, numbers unrounded.")] = False,
) -> None:
    """Print the results as lmms-eval does."""
    warn(client.job(job))
    found = client.results(job)
    if as_json:
        print_json(found.output)
    elif as_csv:
        _print_csv(found.rows())
    else:
        say(found.table())


def samples(
    client: Client,
    job: Job,
    task: Annotated[str | None, typer.Argument(help="The task; may be left out where there is but one.")] = None,
    *,
    limit: Annotated[int, typer.Option(help="At most so many; 0 for all.")] = 10,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only those with a wrong answer.")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="Only those with an empty answer.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document a line, as lmms-eval wrote it; so it is in a pipe.")
    ] = False,
) -> None:
    """Print samples of a task: what was asked, what was answered, what was right."""
    if wrong and empty:
        raise CommandFailed("Give --wrong or --empty, not both: an empty answer is a wrong one too.")
    only: Literal["wrong", "empty"] | None = "wrong" if wrong else "empty" if empty else None
    found = client.samples(job, task or _only_task(client, job), only=only, page_size=min(limit or 500, 500))
    for sample in itertools.islice(found, limit or None):
        if as_json or not sys.stdout.isatty():
            print(json.dumps(sample, ensure_ascii=True))
        else:
            _show(sample)


def _only_task(client: Client, job_id: str) -> str:
    links = client.job(job_id).links
    tasks = sorted(links.samples) if links else []
    if len(tasks) != 1:
        known = f"it has {', '.join(tasks)}" if tasks else "it has no samples"
        raise CommandFailed(f"Say of which task the samples of {job_id} shall be: {known}.")
    return tasks[0]


def _show(sample: dict[str, Any]) -> None:
    rest = [name for name in sample if name not in SHOWN_FIRST]
    for name in (*SHOWN_FIRST, *rest):
        if name in sample:
            text = sample[name] if isinstance(sample[name], str) else json.dumps(sample[name], ensure_ascii=False)
            say(f"{name:<16} {text[:MAX_SHOWN]}{'…' if len(text) > MAX_SHOWN else ''}")
    say("")


def _print_csv(rows: list[dict[str, Any]]) -> None:
    columns = [column for column in (rows[0] if rows else {}) if column not in HEADINGS]
    writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: csv_cell(row.get(column)) for column in columns} for row in rows)
