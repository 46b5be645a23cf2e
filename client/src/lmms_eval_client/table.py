"""The tables that lmms-eval prints at the end of a run, from its results file, to the character: its `make_table`.
Pure.

Columns that only its --baseline fills are left out: no evaluation here has one.
"""

from collections.abc import Iterator
from typing import Any, Final

from lmms_eval_client.markdown import format_table, to_text

# What lmms-eval writes beside a metric under the metric's name with one of these endings, and the column that shows it.
BESIDE: Final = {
    "_stderr": "Stderr",
    "_stderr_clt": "Stderr_CLT",
    "_stderr_clustered": "Stderr_Clustered",
    "_expected_accuracy": "EA",
    "_consensus_accuracy": "CA",
    "_internal_variance": "IV",
    "_consistency_rate": "CR",
}
COLUMNS: Final = ("Tasks", "Filter", "n-shot", "Metric", "Direction", "Value", "±", *BESIDE.values())
# With nothing in it, such a column is left out.
OPTIONAL: Final = frozenset(BESIDE.values()) - {"Stderr"}
# Columns without a heading of their own: the direction of a metric, and the sign before its uncertainty.
HEADINGS: Final = {"Direction": "", "±": ""}
DIRECTIONS: Final[dict[Any, str]] = {True: "↑", False: "↓"}
NOT_AVAILABLE: Final = "N/A"
UNITS: Final = {
    "total_gen_tokens": "tokens",
    "total_elapsed_time": "seconds",
    "avg_latency": "seconds/request",
    "avg_speed": "tokens/s",
}

Row = dict[str, Any]


def format_tables(output: Row) -> str:
    """Return the tables of tasks, throughput and groups that there are, without the empty line that ends them."""
    if not isinstance(output.get("results"), dict):
        return ""
    printed = [_format_scores(output, "results", "Tasks")]
    if throughput := _find_part(output, "throughput"):
        printed += ["\nThroughput Summary\n", _format_throughput(throughput)]
    if "groups" in output:
        printed.append(_format_scores(output, "groups", "Groups"))
    return "\n".join(printed).removesuffix("\n")


def list_score_rows(output: Row, part: str = "results") -> list[Row]:
    """Return one row for each metric of each task, or in "groups" of each group; None where there is nothing."""
    rows = [
        row
        for name, metrics in _find_part(output, part).items()
        if isinstance(metrics, dict)
        for row in _make_rows(output, name, metrics)
    ]
    empty = {column for column in OPTIONAL if all(row[column] is None for row in rows)}
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]


def _make_rows(output: Row, task: str, metrics: Row) -> Iterator[Row]:
    directions = _find_part(_find_part(output, "higher_is_better"), task)
    shots = _find_part(output, "n-shot").get(task, " ")
    for key, value in sorted(metrics.items()):
        metric, _, name = key.partition(",")
        if key == "alias" or value in ([], {}) or metric.endswith(tuple(BESIDE)) or metric.startswith("paired_"):
            continue
        row = [metrics.get("alias", task), name, shots, metric, DIRECTIONS.get(directions.get(metric), "")]
        row += [
            None if value == "" else value,
            "±",
            *(_to_number(metrics.get(f"{metric}{ending},{name}")) for ending in BESIDE),
        ]
        yield dict(zip(COLUMNS, row, strict=True))


def _find_part(output: Row, key: str) -> Row:
    part = output.get(key)
    return part if isinstance(part, dict) else {}


def _to_number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _format_scores(output: Row, part: str, heading: str) -> str:
    rows = list_score_rows(output, part)
    columns = list(rows[0]) if rows else [column for column in COLUMNS if column not in OPTIONAL]
    headings = [heading if column == "Tasks" else HEADINGS.get(column, column) for column in columns]
    return format_table(headings, [[_convert_cell(column, value) for column, value in row.items()] for row in rows])


def _convert_cell(column: str, value: Any) -> Any:
    """Convert a value as lmms-eval does: all but metrics that are no float as text."""
    if value is None:
        return NOT_AVAILABLE
    return value if column == "Value" and not isinstance(value, float) else _format_text(value)


def _format_throughput(measured: Row) -> str:
    names = [name for name in UNITS if name in measured] + sorted(set(measured) - set(UNITS))
    return format_table(
        ("Metric", "Value", "Unit"), [(name, _format_text(measured[name]), UNITS.get(name, "varies")) for name in names]
    )


def _format_text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else to_text(value)
