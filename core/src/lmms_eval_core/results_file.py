"""Reads lmms-eval's results file, and makes the scores in the status: groups and filter names kept, NaN as null."""

import json
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final, NamedTuple

from lmms_eval_core.json_text import parse_excess, parse_number
from lmms_eval_core.status import Metric, Scores

MAX_TASKS: Final = 512
# The columns of `kubectl get` then fit a terminal of 120 characters.
MAX_SUMMARY: Final = 20
# Of one metric that is a mapping; lmms-eval's own ones have up to some dozens of numbers.
MAX_PARTS: Final = 256
# A results file: 0.7.3 knows 1,985 names of tasks and groups.
MAX_RESULT_ROWS: Final = 20_000

# lmms-eval writes a metric's uncertainty beside it, under the metric's name with one of these endings.
UNCERTAINTY: Final = ("_stderr", "_stderr_clt", "_stderr_clustered")


class InvalidResults(Exception):
    """The file is not a results file of lmms-eval, or is larger than anybody may read."""


class ScoreTable(NamedTuple):
    """Scores that fit, and the names of the tasks and groups that did not."""

    scores: Scores
    omitted: list[str]


def parse_results(content: bytes) -> dict[str, Any]:
    """Return the results file.

    InvalidResults unless it is an object with a `results` object in it, within the bounds.
    """
    check_bounds(content)
    try:
        parsed = json.loads(content.decode(), parse_int=parse_number)
    except ValueError as error:
        raise InvalidResults(f"the results file is not JSON: {error}") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("results"), dict):
        raise InvalidResults("the results file has no 'results' object")
    if len(parsed["results"]) > MAX_RESULT_ROWS:
        raise InvalidResults(f"the results file has more than {MAX_RESULT_ROWS} tasks and groups")
    return parsed


def check_bounds(content: bytes) -> None:
    """Raise InvalidResults for a text that would take too much memory to parse, whether it is JSON or not."""
    if excess := parse_excess(content):
        raise InvalidResults(f"the results file {excess}")


def build_score_table(
    results: dict[str, Any],
    *,
    max_bytes: int | None = None,
    asked: Sequence[str] = (),
    max_tasks: int | None = MAX_TASKS,
) -> ScoreTable:
    """Return scores per task and group, those that are `asked` for by name or pattern first, in `max_bytes` of JSON."""
    scores: Scores = {}
    omitted: list[str] = []
    used = 2
    for task, metrics in _sort_asked_first(_read_tasks(results), asked):
        size = 0 if max_bytes is None else _measure_json(task, metrics)
        if (max_bytes is not None and used + size > max_bytes) or len(scores) == max_tasks:
            omitted.append(task)
            continue
        scores[task] = metrics
        used += size
    return ScoreTable(scores, omitted)


def summarise(results: dict[str, Any], scores: Scores) -> str:
    """Return one short line for the Score column: a number of each group where there is one, else of
    the first tasks.
    """
    listed = results.get("groups")
    groups = [task for task in listed if task in scores] if isinstance(listed, dict) else []
    parts = [f"{task} {format_score(_find_first_number(scores[task]))}" for task in (groups or scores)]
    line = ", ".join(parts)
    return line if len(line) <= MAX_SUMMARY else line[: MAX_SUMMARY - 1] + "…"


def format_score(value: float | None) -> str:
    """Format a score with four significant digits."""
    return "n/a" if value is None else f"{value:.4g}"


def list_answer_texts(answer: Any) -> Iterator[str]:
    """Yield the texts of a sample's answer: one, a list of them, or lists of lists where there were several tries."""
    if isinstance(answer, list):
        for part in answer:
            yield from list_answer_texts(part)
    elif answer is not None:
        yield str(answer)


def _sort_asked_first(tasks: dict[str, dict[str, Metric]], asked: Sequence[str]) -> list[tuple[str, dict[str, Metric]]]:
    """Return tasks in the file's order, but what is asked for before it: by name first, then by pattern."""
    names = set(asked)
    patterns = [name for name in asked if "*" in name or "?" in name]

    def place(task: str) -> int:
        return 0 if task in names else 1 if any(fnmatchcase(task, pattern) for pattern in patterns) else 2

    return sorted(tasks.items(), key=lambda item: place(item[0]))


def _measure_json(task: str, metrics: dict[str, Metric]) -> int:
    return len(json.dumps({task: {name: metric.model_dump() for name, metric in metrics.items()}}))


def _find_first_number(metrics: dict[str, Metric]) -> float | None:
    return next((metric.value for metric in metrics.values() if metric.value is not None), None)


def _read_tasks(results: dict[str, Any]) -> dict[str, dict[str, Metric]]:
    rows = {str(task): _read_metrics(row) for task, row in results["results"].items() if isinstance(row, dict)}
    return {task: metrics for task, metrics in rows.items() if metrics}


def _read_metrics(row: dict[str, Any]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for key in row:
        metric, comma, name = key.partition(",")
        if not comma or metric.endswith(UNCERTAINTY):
            continue
        value, stderr = row[key], row.get(f"{metric}_stderr,{name}")
        parts = dict(islice(_find_numbers(value), MAX_PARTS)) if isinstance(value, dict) else {}
        if parts:
            errors = dict(islice(_find_numbers(stderr), MAX_PARTS))
            metrics |= {
                f"{metric}{path},{name}": Metric(value=part, stderr=errors.get(path)) for path, part in parts.items()
            }
        else:
            metrics[key] = Metric(value=_to_finite(value), stderr=_to_finite(stderr))
    return metrics


def _find_numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a mapping, each under the names that lead to it, joined by dots."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _find_numbers(part, f"{path}.{name}")
    elif (found := _to_finite(value)) is not None:
        yield path, found


def _to_finite(value: Any) -> float | None:
    """Return a finite number, or a bool as 1 or 0; None for all else."""
    if not isinstance(value, bool | int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None
