"""The table that lmms-eval prints at the end of a run, from its results file. Pure."""

from collections.abc import Iterator
from typing import Any, Final

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
ALWAYS: Final = frozenset({"Stderr"})
DIRECTIONS: Final[dict[Any, str]] = {True: "↑", False: "↓"}
NOT_AVAILABLE: Final = "N/A"
# Columns without a heading of their own: the direction of a metric, and the sign before its uncertainty.
HEADINGS: Final = {"Direction": "", "±": ""}
RIGHT: Final = frozenset({"n-shot", "Value", *BESIDE.values()})

Row = dict[str, Any]


def score_rows(output: Row) -> list[Row]:
    """One row for each metric of each task and group; columns in which nothing stands are left out."""
    results = output.get("results")
    rows = [row for task, metrics in (results or {}).items() if isinstance(metrics, dict) for row in _rows(output, task, metrics)]
    empty = {column for column in BESIDE.values() if all(row[column] is None for row in rows)} - ALWAYS
    return [{column: value for column, value in row.items() if column not in empty} for row in rows]


def table(rows: list[Row]) -> str:
    """The rows in Markdown, numbers with four decimals."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [[HEADINGS.get(column, column) for column in columns], *([_text(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    rule = [_rule(column, width) for column, width in zip(columns, widths, strict=True)]
    head, *body = (_aligned(columns, line, widths) for line in lines)
    return "\n".join(f"|{'|'.join(line)}|" for line in (head, rule, *body))


def _rows(output: Row, task: str, metrics: Row) -> Iterator[Row]:
    directions = _part(output, "higher_is_better", task)
    shots = output.get("n-shot", {})
    for key, value in sorted(metrics.items()):
        metric, comma, name = key.partition(",")
        if not comma or metric.endswith(tuple(BESIDE)) or metric.startswith("paired_"):
            continue
        direction = DIRECTIONS.get(directions.get(metric), "")
        row = {
            "Tasks": str(metrics.get("alias", task)),
            "Filter": name,
            "n-shot": shots.get(task, "") if isinstance(shots, dict) else "",
        }
        row |= {"Metric": metric, "Direction": direction, "Value": value, "±": "±"}
        yield row | {column: _number(metrics.get(f"{metric}{ending},{name}")) for ending, column in BESIDE.items()}


def _part(output: Row, key: str, task: str) -> Row:
    part = output.get(key, {})
    found = part.get(task) if isinstance(part, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) else None


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return NOT_AVAILABLE if value is None or value == [] else str(value).replace("|", "\\|").replace("\n", " ")


def _rule(column: str, width: int) -> str:
    return "-" * (width - 1) + ":" if column in RIGHT else "-" * width


def _aligned(columns: list[str], line: list[str], widths: list[int]) -> list[str]:
    cells = zip(columns, line, widths, strict=True)
    return [text.rjust(width) if column in RIGHT else text.ljust(width) for column, text, width in cells]
