"""Which lines of a file of samples are wanted (`lmms_eval_core.sample_scoring` says what each filter means). Pure."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from lmms_eval_core.json_text import parse_excess, parse_line
from lmms_eval_core.sample_scoring import SampleFlag, ScoringCriteria, is_empty, is_wrong

SamplePredicate = Callable[[bytes], bool | None]


class Filter(StrEnum):
    """Which samples are wanted."""

    WRONG = SampleFlag.WRONG
    EMPTY = SampleFlag.EMPTY


class SampleSelection(NamedTuple):
    """Which samples of a task are wanted: those that the filter finds with these criteria; all without a filter."""

    filter: Filter | None = None
    criteria: ScoringCriteria | None = None


def make_predicate(selection: SampleSelection) -> SamplePredicate | None:
    """Return a function that says whether a line is wanted, or None if it cannot tell; None if all lines are wanted."""
    if selection.filter is None:
        return None
    if selection.filter is Filter.EMPTY:
        return lambda line: is_empty(_parse(line))
    known = selection.criteria or ScoringCriteria({})
    return lambda line: is_wrong(_parse(line), known)


def _parse(line: bytes) -> Any:
    return None if parse_excess(line) else parse_line(line)
