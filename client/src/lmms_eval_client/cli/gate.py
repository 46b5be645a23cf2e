"""lmmeval gate: the verdict of a job's gate, as an exit code for scripts and as a table for people."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from lmms_eval_client.cli.compare import escape_cell, join_cells
from lmms_eval_client.cli.exits import CliError, ExitCode
from lmms_eval_client.cli.jobs import AsJson
from lmms_eval_client.cli.screen import print_json, print_table, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.client import Client
from lmms_eval_core.wire import GatedMetric, JobGate

HEADINGS: Final = ("", "task", "metric", "base", "now", "change", "limits", "may lose", "n")
SIGNS: Final = {"Passed": "✓", "Failed": "✗", "Inconclusive": "?"}


class Inconclusive(StrEnum):
    """What an inconclusive gate counts as."""

    PASS = "pass"
    FAIL = "fail"


CODES: Final = {
    "Passed": ExitCode.COMPLETED,
    "Failed": ExitCode.GATE_FAILED,
    Inconclusive.PASS: ExitCode.COMPLETED,
    Inconclusive.FAIL: ExitCode.GATE_FAILED,
}


def gate(
    client: Client,
    job: Job,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for the summary of a CI job.")] = False,
    as_json: AsJson = False,
    inconclusive: Annotated[
        Inconclusive | None, typer.Option(help="Exit as if it had passed, or failed, where it is neither.")
    ] = None,
) -> None:
    """Print what the gate of a job says; exit with 0 if it passed, 7 if it failed, 8 if it is inconclusive."""
    found = client.gate(job)
    if found.verdict is None:
        raise CliError(f"{job} has not ended, and has no verdict yet: lmmeval watch {job}")
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif markdown:
        say(render_markdown(found))
    else:
        say(describe(found))
        print_table(HEADINGS, [format_row(metric) for metric in found.metrics])
    code = CODES.get(found.verdict) if found.verdict in CODES else CODES.get(inconclusive or "")
    raise typer.Exit(ExitCode.GATE_INCONCLUSIVE if code is None else code)


def describe(found: JobGate) -> str:
    """Return the verdict as a sentence."""
    against = f" against {found.baseline.name}" if found.baseline else ""
    return f"Gate {(found.verdict or '').lower()} ({found.reason}): {found.job_id}{against}. {found.message}"


def render_markdown(found: JobGate) -> str:
    """Return the verdict and what led to it, for the summary of a CI job."""
    against = ""
    if found.baseline:
        pin = found.baseline
        against = f" against {pin.name} (uid {pin.uid[:8]}, values {pin.digest[:8]})"
    lines = [f"**Gate {(found.verdict or '').lower()}**: {found.job_id}{against}", "", escape_cell(found.message), ""]
    lines += [join_cells(HEADINGS), join_cells(["---"] * len(HEADINGS))]
    lines += [join_cells(map(escape_cell, format_row(metric))) for metric in found.metrics]
    if found.omitted:
        lines += ["", f"{found.omitted} more in gate.json."]
    return "\n".join(lines)


def format_row(metric: GatedMetric) -> list[str]:
    """Return a metric in the columns of the table."""
    limits = "" if metric.lower is None or metric.upper is None else f"{metric.lower:+.4g} … {metric.upper:+.4g}"
    change = "" if metric.change is None else f"{metric.change:+.4g}"
    count = "" if metric.documents is None else f"{metric.documents:,}"
    sign = SIGNS.get(metric.verdict, metric.verdict) + ("" if metric.tier == "Critical" else " advisory")
    numbers = [_format(metric.baseline), _format(metric.value), change, limits, _format(metric.margin), count]
    return [sign, metric.task, metric.metric, *numbers]


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
