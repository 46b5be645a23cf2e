"""lmmeval results and samples: what came out."""

import csv
import itertools
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.follow import print_warnings
from lmms_eval_client.cli.jobs import AsJson
from lmms_eval_client.cli.media import save_media
from lmms_eval_client.cli.screen import note, print_json, print_table, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.cli.text import to_csv_cell
from lmms_eval_client.client import Client
from lmms_eval_client.table import HEADINGS
from lmms_eval_core.wire import JobStatus

MAX_SHOWN = 400
DEFAULT_LIMIT = 10
# Of samples, and of answers that are none yet.
SHOWN_FIRST = ("doc_id", "document", "input", "prompt", "target", "filtered_resps", "answer")


def results(
    client: Client,
    job: Job,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The results file of lmms-eval, whole.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The table as CSV, numbers unrounded.")] = False,
) -> None:
    """Print the results as lmms-eval does."""
    print_warnings(client.job(job))
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
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print answers as they come, until the job has ended; not scored.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Of a job that runs, the answers so far; not scored.")] = False,
    limit: Annotated[
        int | None, typer.Option(help="At most so many; 0 for all. 10 unless given, and all with --follow.", min=0)
    ] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only those with a wrong answer.")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="Only those with an empty answer.")] = False,
    search: Annotated[
        str | None, typer.Option(help="Only those with this text in prompt, target or answer; prints their beginnings.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Only those whose metric is so, as 'acc<0.5'; prints their beginnings.")
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="By a metric, tokens or length; -tokens begins with the largest. Prints their beginnings."),
    ] = None,
    doc: Annotated[str | None, typer.Option(help="Only the sample with this doc_id.")] = None,
    media: Annotated[
        Path | None, typer.Option(help="With --doc: write its images, videos and sounds into this folder.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document a line, as lmms-eval wrote it; so it is in a pipe.")
    ] = False,
) -> None:
    """Print samples of a task: what was asked, what was answered, what was right.

    Of a job that was cancelled or has failed, the answers until then, which nobody has scored.
    """
    by_index = bool(search or metric or sort)
    if wrong and empty:
        raise CliError("Give --wrong or --empty, not both: an empty answer is a wrong one too.")
    if follow and (wrong or empty):
        raise CliError("Give --follow without --wrong and --empty: all answers are printed as they come.")
    if by_index and (follow or live):
        raise CliError("Give --search, --metric and --sort for a job that has ended, without --follow and --live.")
    if doc is not None and (by_index or follow or live or wrong or empty):
        raise CliError("Give --doc alone: it names one sample of a job that has ended.")
    if media is not None and doc is None:
        raise CliError("Give --media with --doc: the files are those of one sample.")
    only: Literal["wrong", "empty"] | None = "wrong" if wrong else "empty" if empty else None
    named = task or _find_only_task(client, job, running=follow or live)
    wanted = limit if limit is not None else 0 if follow else DEFAULT_LIMIT
    found: Iterator[dict[str, Any]]
    if doc is not None:
        detail = client.sample(job, named, doc)
        found = iter([detail.sample])
        if media is not None:
            save_media(client, job, named, detail.card, media)
    elif follow:
        found = client.stream_answers(job, named)
    elif by_index:
        size = min(wanted or 200, 200)
        cards = client.explore(job, named, only=only, metrics=metric or (), search=search, sort=sort, page_size=size)
        found = (card.model_dump(mode="json") for card in cards)
    else:
        found = client.samples(job, named, only=only, live=live, page_size=min(wanted or 500, 500))
    for sample in itertools.islice(found, wanted or None):
        if as_json or not sys.stdout.isatty():
            print(json.dumps(sample, ensure_ascii=True), flush=follow)
        else:
            _print_sample(sample)
    if follow and not wanted and client.job(job).status is JobStatus.COMPLETED:
        note(f"{job} has completed. Its samples, with their scores: lmmeval samples {job} {shlex.quote(named)}")


def files(
    client: Client,
    job: Job,
    path: Annotated[str | None, typer.Argument(help="The file to fetch; left out, they are listed.")] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write it; - is standard output. Else its own name, here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the files that tasks wrote themselves, such as a submission to a test server, or fetch one."""
    if path is None:
        found = client.files(job)
        if as_json:
            print_json([file.model_dump() for file in found])
        else:
            print_table(("PATH", "STORED BYTES"), [[file.path, str(file.stored_bytes)] for file in found])
    elif output == Path("-"):
        sys.stdout.buffer.writelines(client.file(job, path))
    else:
        _write_file(client.file(job, path), output or Path(path.rpartition("/")[2]), force=force)


def _write_file(content: Iterator[bytes], target: Path, *, force: bool) -> None:
    """Writes it beside `target` first: whoever finds that has the whole of it."""
    if target.exists() and not force:
        raise CliError(f"{target} is there already: give --force to write over it, or another --output.")
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as file:
            file.writelines(content)
        part.replace(target)
    except OSError as error:
        raise CliError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    note(f"{target}: {target.stat().st_size} bytes")


def _find_only_task(client: Client, job_id: str, *, running: bool) -> str:
    """Return the task of which a job has samples; of one that is `running`, the task that it was asked for."""
    job = client.job(job_id)
    tasks = sorted(job.links.samples) if job.links else []
    if running and not tasks:
        tasks = [str(task) for task in job.request.get("tasks", [])]
    if len(tasks) != 1:
        known = f"it has {', '.join(tasks)}" if tasks else "it has no samples"
        raise CliError(f"Say of which task the samples of {job_id} shall be: {known}.")
    return tasks[0]


def _print_sample(sample: dict[str, Any]) -> None:
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
    writer.writerows({column: to_csv_cell(row.get(column)) for column in columns} for row in rows)
