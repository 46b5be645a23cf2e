"""Which samples are wrong, and which are empty. Pure.

What counts as right is known to a task's code alone. What can be seen from outside: the metrics in the results file,
which of them are better when lower (`higher_is_better`), and each sample's number for each metric.
"""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from lmms_eval_core import layout
from lmms_eval_core.json_text import parse_excess, parse_line
from lmms_eval_core.results_file import UNCERTAINTY, list_answer_texts

# The metric of a run that only predicts, which is a constant.
NO_METRIC: Final = "bypass"
DEFAULT_SCORE_KEY: Final = "score"

SamplePredicate = Callable[[bytes], bool | None]


class Filter(StrEnum):
    """Which samples are wanted."""

    WRONG = "wrong"
    EMPTY = "empty"


class ScoringCriteria(NamedTuple):
    """How the samples of a task are scored: its metrics, each with whether lower is better, and the key of a score."""

    lower_is_better: dict[str, bool]
    score_key: str = DEFAULT_SCORE_KEY


class SampleSelection(NamedTuple):
    """Which samples of a task are wanted: those that the filter finds with these criteria; all without a filter."""

    filter: Filter | None = None
    criteria: ScoringCriteria | None = None


def read_criteria(results: dict[str, Any]) -> dict[str, ScoringCriteria]:
    """Return the criteria of every task in a results file, by the names under which the samples of tasks are stored."""
    directions, configs = _read_map(results, "higher_is_better"), _read_map(results, "configs")
    found = {}
    for task, row in _read_map(results, "results").items():
        direction = _read_map(directions, task)
        names = {key.split(",", 1)[0] for key in row if "," in key} if isinstance(row, dict) else set()
        metrics = {name for name in names | set(direction) if not name.endswith(UNCERTAINTY) and name != NO_METRIC}
        key = _read_map(configs, task).get("score_key")
        lower = {name: direction.get(name) is False for name in sorted(metrics)}
        found[layout.segment(task)] = ScoringCriteria(lower, key if isinstance(key, str) else DEFAULT_SCORE_KEY)
    return found


def make_predicate(selection: SampleSelection) -> SamplePredicate | None:
    """Return a function that says whether a line is wanted, or None if it cannot tell; None if all lines are wanted."""
    if selection.filter is None:
        return None
    if selection.filter is Filter.EMPTY:
        return lambda line: is_empty(_parse(line))
    known = selection.criteria or ScoringCriteria({})
    return lambda line: is_wrong(_parse(line), known)


def is_wrong(sample: Any, criteria: ScoringCriteria) -> bool | None:
    """Whether some metric is below 1, or above 0 where lower is better. None if the sample has no number for any."""
    if not isinstance(sample, dict):
        return None
    metrics, key = criteria.lower_is_better.items(), criteria.score_key
    got = ((_read_score(sample.get(name), key), lower) for name, lower in metrics)
    short = [(number > 0 if lower else number < 1) for number, lower in got if number is not None]
    return any(short) if short else None


def is_empty(sample: Any) -> bool | None:
    """Whether all answers are white space: those that were scored, or the raw ones if there are none."""
    if not isinstance(sample, dict):
        return None
    return not any(text.strip() for text in list_answer_texts(sample.get("filtered_resps", sample.get("resps"))))


def _read_score(value: Any, score_key: str) -> float | None:
    if isinstance(value, dict):
        value = value.get(score_key, value.get(DEFAULT_SCORE_KEY))
    if not isinstance(value, bool | int | float) or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _parse(line: bytes) -> Any:
    return None if parse_excess(line) else parse_line(line)


def _read_map(of: dict[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}
