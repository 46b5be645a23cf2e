"""From lmms-eval's results file to the scores in the status: groups and filter names kept, numbers that are none as null."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from lmms_eval_core.status import Metric, Scores

MAX_TASKS = 512
# The columns of `kubectl get` then fit a terminal of 120 characters.
MAX_SUMMARY = 28


class InvalidResults(Exception):
    """The file is not a results file of lmms-eval."""


class ScoreTable(NamedTuple):
    """Scores that fit into `max_bytes` of JSON, and whether some had to be left out."""

    scores: Scores
    truncated: bool


def parse_results(content: str) -> dict[str, Any]:
    """The results file; InvalidResults unless it is an object with a `results` object in it."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidResults(f"the results file is not JSON: {error}") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("results"), dict):
        raise InvalidResults("the results file has no 'results' object")
    return parsed


def score_table(results: dict[str, Any], *, max_bytes: int) -> ScoreTable:
    """Scores per task and group, in the file's order, until `max_bytes` are full."""
    scores: Scores = {}
    used = 2
    for task, metrics in _tasks(results):
        size = len(json.dumps({task: {name: metric.model_dump() for name, metric in metrics.items()}}))
        if used + size > max_bytes or len(scores) == MAX_TASKS:
            return ScoreTable(scores, True)
        scores[task] = metrics
        used += size
    return ScoreTable(scores, False)


def summary(results: dict[str, Any], scores: Scores) -> str:
    """One short line for the Score column: the first metric of a group where there is one, else of the first tasks."""
    listed = results.get("groups")
    groups = [task for task in listed if task in scores] if isinstance(listed, dict) else []
    parts = [f"{task} {number(metric.value)}" for task, metric in _first_metrics(scores, groups or list(scores))]
    line = ", ".join(parts)
    return line if len(line) <= MAX_SUMMARY else line[: MAX_SUMMARY - 1] + "…"


def number(value: float | None) -> str:
    """A score for a person: four significant digits."""
    return "n/a" if value is None else f"{value:.4g}"


def answer_texts(answer: Any) -> Iterator[str]:
    """The texts of what a sample holds as its answer: one, a list of them, or lists of lists where there were several tries."""
    if isinstance(answer, list):
        for part in answer:
            yield from answer_texts(part)
    elif answer is not None:
        yield str(answer)


def _first_metrics(scores: Scores, tasks: list[str]) -> Iterator[tuple[str, Metric]]:
    for task in tasks:
        for metric in scores[task].values():
            yield task, metric
            break


def _tasks(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Metric]]]:
    for task, row in results["results"].items():
        metrics = _metrics(row) if isinstance(row, dict) else {}
        if metrics:
            yield str(task), metrics


# lmms-eval writes a metric's uncertainty beside it, under the metric's name with one of these endings.
UNCERTAINTY = ("_stderr", "_stderr_clt", "_stderr_clustered")


def _metrics(row: dict[str, Any]) -> dict[str, Metric]:
    values = [key for key in row if "," in key and not key.split(",", 1)[0].endswith(UNCERTAINTY)]
    return {key: Metric(value=_finite(row[key]), stderr=_finite(row.get(_stderr_key(key)))) for key in values}


def _stderr_key(key: str) -> str:
    metric, name = key.split(",", 1)
    return f"{metric}_stderr,{name}"


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None
