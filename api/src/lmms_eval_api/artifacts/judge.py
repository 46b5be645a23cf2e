"""Which samples are wrong, and which are empty. Pure.

What a task counts as right is known to its code alone. What can be seen from outside: the metrics that the results file lists,
which of them are better when lower (`higher_is_better`), and what each sample got for each.
"""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from lmms_eval_core import layout
from lmms_eval_core.json_text import parse_excess, parse_line
from lmms_eval_core.results_file import UNCERTAINTY, list_answer_texts

# The metric of a run that only predicts: a constant.
NO_METRIC: Final = "bypass"
DEFAULT_SCORE_KEY: Final = "score"

Verdict = Callable[[bytes], bool | None]


class Filter(StrEnum):
    """Which samples are wanted."""

    WRONG = "wrong"
    EMPTY = "empty"


class Criteria(NamedTuple):
    """How the samples of one task are scored: its metrics, each with whether lower is better, and the name of a part's score."""

    lower_is_better: dict[str, bool]
    score_key: str = DEFAULT_SCORE_KEY


class Selection(NamedTuple):
    """Which samples of a task: those of the filter, told by how the task is scored; all of them without a filter."""

    only: Filter | None = None
    how: Criteria | None = None


def criteria(results: dict[str, Any]) -> dict[str, Criteria]:
    """By the names under which the samples of the tasks are kept, from the results file."""
    directions, configs = _map(results, "higher_is_better"), _map(results, "configs")
    found = {}
    for task, row in _map(results, "results").items():
        direction = _map(directions, task)
        names = {key.split(",", 1)[0] for key in row if "," in key} if isinstance(row, dict) else set()
        metrics = {name for name in names | set(direction) if not name.endswith(UNCERTAINTY) and name != NO_METRIC}
        key = _map(configs, task).get("score_key")
        lower = {name: direction.get(name) is False for name in sorted(metrics)}
        found[layout.segment(task)] = Criteria(lower, key if isinstance(key, str) else DEFAULT_SCORE_KEY)
    return found


def verdict(selection: Selection) -> Verdict | None:
    """Tells of a line whether it is wanted, None where nobody can tell; None for all of them."""
    if selection.only is None:
        return None
    if selection.only is Filter.EMPTY:
        return lambda line: is_empty(_parsed(line))
    known = selection.how or Criteria({})
    return lambda line: is_wrong(_parsed(line), known)


def is_wrong(sample: Any, how: Criteria) -> bool | None:
    """Whether some metric falls short of full marks: below 1, or above 0 where lower is better. None if it got no number."""
    if not isinstance(sample, dict):
        return None
    got = ((_number(sample.get(name), how.score_key), lower) for name, lower in how.lower_is_better.items())
    short = [(number > 0 if lower else number < 1) for number, lower in got if number is not None]
    return any(short) if short else None


def is_empty(sample: Any) -> bool | None:
    """Whether all that was answered is white space. What was scored counts; the raw answer where there is nothing else."""
    if not isinstance(sample, dict):
        return None
    return not any(text.strip() for text in list_answer_texts(sample.get("filtered_resps", sample.get("resps"))))


def _number(value: Any, score_key: str) -> float | None:
    if isinstance(value, dict):
        value = value.get(score_key, value.get(DEFAULT_SCORE_KEY))
    if not isinstance(value, bool | int | float) or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def _parsed(line: bytes) -> Any:
    return None if parse_excess(line) else parse_line(line)


def _map(of: dict[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}
