"""lmmeval compare: is one job better than another?"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer

from lmms_eval_client.cli import completion
from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.cli.jobs import AsJson
from lmms_eval_client.cli.screen import note, print_json, print_table, say
from lmms_eval_client.cli.submit import Job
from lmms_eval_client.client import Client
from lmms_eval_core.wire_comparison import ComparedMetric, ComparedTask, ComparisonFinding, JobComparison, RunComparison

HEADINGS: Final = ("TASK", "METRIC", "BASELINE", "CANDIDATE", "BETTER BY", "95 % INTERVAL", "P", "LOST/WON", "OF", "SO")
# Cells of Markdown that are numbers.
NUMBERS: Final = frozenset(HEADINGS[2:9])
NOTHING: Final = "-"
_ESCAPED: Final = str.maketrans({"|": "\\|", "`": "\\`", "<": "&lt;", "*": "\\*", "[": "\\[", "\n": " ", "\r": " "})


def compare(
    client: Client,
    baseline: Job,
    candidates: Annotated[
        list[str], typer.Argument(help="The jobs to compare with it.", autocompletion=completion.complete_jobs)
    ],
    *,
    margin: Annotated[
        float | None,
        typer.Option(help="What may be lost, in the units of the metrics: says how many documents would show it."),
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As a table in Markdown, for a comment.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say document by document whether jobs are better or worse than a baseline, or not told apart."""
    if as_markdown and as_json:
        raise CliError("Give --markdown or --json, not both.")
    found = client.compare(candidates[0], baseline, candidates=candidates[1:], margin=margin)
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif as_markdown:
        say("\n\n".join(format_comparison(each) for each in found.comparisons))
    else:
        _print(found, with_margin=margin is not None)


def format_comparison(comparison: RunComparison) -> str:
    """Return a comparison in Markdown."""
    lines = [f"**{escape_cell(comparison.candidate)}** against **{escape_cell(comparison.baseline)}**", ""]
    heads = [heading.capitalize() if heading != "P" else "p" for heading in HEADINGS]
    rows = list(_list_rows(comparison))
    lines += [join_cells(heads), join_cells("--:" if heading in NUMBERS else "---" for heading in HEADINGS)]
    lines += [join_cells(map(escape_cell, row)) for row in rows]
    notes = [escape_cell(sentence) for sentence in list_sentences(comparison)]
    return "\n".join([*lines, *(["", *(f"- {sentence}" for sentence in notes)] if notes else [])])


def list_sentences(comparison: RunComparison) -> list[str]:
    """Return what was found, each once, and which tasks only one job has."""
    found = [_describe(finding) for finding in comparison.findings]
    for task in comparison.tasks:
        known = [*task.findings, *(finding for metric in task.metrics for finding in metric.findings)]
        found += [f"{task.task}: {_describe(finding)}" for finding in known if finding not in comparison.findings]
    alone = {comparison.baseline: comparison.only_baseline, comparison.candidate: comparison.only_candidate}
    for name, tasks in alone.items():
        if tasks:
            found.append(f"Only {name} has {', '.join(tasks)}.")
    return list(dict.fromkeys(found))


def _print(found: JobComparison, *, with_margin: bool) -> None:
    for number, comparison in enumerate(found.comparisons):
        if number:
            say("")
        say(f"{comparison.candidate} against {comparison.baseline}")
        print_table(HEADINGS, list(_list_rows(comparison)))
        for sentence in list_sentences(comparison):
            note(sentence)
        if with_margin:
            _print_needed(comparison)
    for rerun in found.reruns:
        for sentence in _list_rerun_changes(rerun):
            note(sentence)


def _list_rows(comparison: RunComparison) -> Iterator[list[str]]:
    for task in comparison.tasks:
        for metric in task.metrics:
            yield _make_row(task, metric)


def _make_row(task: ComparedTask, metric: ComparedMetric) -> list[str]:
    is_compared = metric.difference is not None
    p = metric.p if metric.p_adjusted is None else metric.p_adjusted
    interval = f"{_sign(metric.lower)} … {_sign(metric.upper)}" if metric.lower is not None else NOTHING
    return [
        task.task if metric.first else "",
        _name_metric(task, metric),
        _show(metric.baseline),
        _show(metric.candidate),
        _sign(metric.difference),
        interval,
        NOTHING if p is None else f"{p:.2g}",
        f"{metric.lost}/{metric.won}" if is_compared else NOTHING,
        str(metric.pairs) if is_compared else NOTHING,
        metric.conclusion if is_compared and metric.p is not None else NOTHING,
    ]


def _name_metric(task: ComparedTask, metric: ComparedMetric) -> str:
    several = len({each.filter for each in task.metrics}) > 1
    direction = " ↓" if metric.lower_is_better else ""
    return f"{metric.metric}{f',{metric.filter}' if several else ''}{direction}"


def _print_needed(comparison: RunComparison) -> None:
    for task in comparison.tasks:
        for metric in task.metrics:
            if metric.first and metric.needed is not None:
                units = "documents" if metric.units == metric.pairs else "clusters"
                note(f"{task.task}: {metric.needed} {units} show that no more than the margin is lost, if nothing is.")


def _list_rerun_changes(rerun: RunComparison) -> Iterator[str]:
    """Yield what a rerun of the same evaluation changes, as measure of what other differences mean."""
    for task in rerun.tasks:
        for metric in task.metrics:
            if metric.first and metric.difference is not None:
                changed = f"{metric.lost + metric.won} of {metric.pairs} values of {task.task}"
                yield (
                    f"{rerun.baseline} and {rerun.candidate} ask for the same: the rerun changes {changed}, and "
                    f"{metric.metric} by {_sign(metric.difference)}."
                )


def _describe(finding: ComparisonFinding) -> str:
    prefix = {"refused": "not compared: ", "inconclusive": "no conclusion: ", "warning": ""}[finding.effect]
    return prefix + finding.message


def _show(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4g}"


def _sign(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.3g}"


def join_cells(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def escape_cell(text: str) -> str:
    """Return a text that is no Markdown."""
    return text.translate(_ESCAPED)
