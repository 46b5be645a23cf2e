"""How samples are judged: which are wrong, right, empty, failed or truncated. Pure.

What counts as right is known to a task's code alone. What can be seen from outside: the metrics in the results file,
which of them are better when lower (`higher_is_better`), and each sample's number for each metric.
"""

import math
from enum import StrEnum
from typing import Any, Final, NamedTuple

from lmms_eval_core import layout
from lmms_eval_core.results_file import UNCERTAINTY, list_answer_texts

# The metric of a run that only predicts, which is a constant.
NO_METRIC: Final = "bypass"
DEFAULT_SCORE_KEY: Final = "score"
# What the harness stores in place of an answer that it could not get.
FAILED_MARK: Final = "[LMMS_EVAL_REQUEST_FAILED"
# The names of options of generation that limit an answer.
_TOKEN_LIMITS: Final = ("max_new_tokens", "max_gen_toks", "max_tokens")


class SampleFlag(StrEnum):
    """What may be true of a sample; one that is neither wrong nor right has no number for any metric."""

    WRONG = "wrong"
    RIGHT = "right"
    EMPTY = "empty"
    FAILED = "failed"
    TRUNCATED = "truncated"


class ScoringCriteria(NamedTuple):
    """How the samples of a task are scored: its metrics, each with whether lower is better, and the key of a score."""

    lower_is_better: dict[str, bool]
    score_key: str = DEFAULT_SCORE_KEY


class SampledTask(NamedTuple):
    """What a results file says about the samples of a task.

    The samples of the first of the `filters` stand before those of the next. `max_tokens` is the length that the task
    allows an answer, and `cluster_key` the name under which a metric's object holds what samples have in common.
    """

    criteria: ScoringCriteria = ScoringCriteria({})
    filters: tuple[str, ...] = ()
    max_tokens: int | None = None
    cluster_key: str | None = None


def read_criteria(results: dict[str, Any]) -> dict[str, ScoringCriteria]:
    """Return the criteria of every task in a results file, by the names under which the samples of tasks are stored."""
    return {
        layout.segment(task): _read_task_criteria(results, task, row)
        for task, row in _read_map(results, "results").items()
    }


def read_sampled_task(results: dict[str, Any], task: str) -> SampledTask:
    """Return what a results file says about the samples of a task, under the task's own name."""
    row, config = _read_map(results, "results").get(task), _read_map(_read_map(results, "configs"), task)
    options, cluster_key = _read_map(config, "generation_kwargs"), config.get("cluster_key")
    limits = (options.get(name) for name in _TOKEN_LIMITS)
    return SampledTask(
        _read_task_criteria(results, task, row),
        tuple(dict.fromkeys(key.split(",", 1)[1] for key in row if "," in key)) if isinstance(row, dict) else (),
        next((limit for limit in limits if type(limit) is int and limit > 0), None),
        cluster_key if isinstance(cluster_key, str) else None,
    )


def read_score(sample: dict[str, Any], metric: str, criteria: ScoringCriteria) -> float | None:
    """Return a sample's number for a metric; None where it has none."""
    value = sample.get(metric)
    if isinstance(value, dict):
        value = value.get(criteria.score_key, value.get(DEFAULT_SCORE_KEY))
    if not isinstance(value, bool | int | float) or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def is_wrong(sample: Any, criteria: ScoringCriteria) -> bool | None:
    """Whether some metric is below 1, or above 0 where lower is better. None if the sample has no number for any."""
    if not isinstance(sample, dict):
        return None
    got = ((read_score(sample, name, criteria), lower) for name, lower in criteria.lower_is_better.items())
    short = [(number > 0 if lower else number < 1) for number, lower in got if number is not None]
    return any(short) if short else None


def is_empty(sample: Any) -> bool | None:
    """Whether all answers are white space: those that were scored, or the raw ones if there are none."""
    if not isinstance(sample, dict):
        return None
    return not any(text.strip() for text in list_answer_texts(sample.get("filtered_resps", sample.get("resps"))))


def find_raw_answer(sample: Any) -> Any:
    """Return what the model answered, before any filter; None where a sample has no answer."""
    # lmms-eval leaves `resps` out where it equals what was scored.
    return sample.get("resps", sample.get("filtered_resps")) if isinstance(sample, dict) else None


def is_failed(texts: list[str]) -> bool:
    """Whether every text of a raw answer is an error marker of the harness."""
    return bool(texts) and all(text.startswith(FAILED_MARK) for text in texts)


def count_tokens(sample: dict[str, Any]) -> list[int]:
    """Return the output tokens of each request of a sample, as far as the model adapter counts them."""
    counts = sample.get("token_counts")
    found = (part.get("output_tokens") for part in counts if isinstance(part, dict)) if isinstance(counts, list) else ()
    return [number for number in found if type(number) is int and number >= 0]


def is_truncated(tokens: list[int], max_tokens: int | None) -> bool:
    """Whether an answer has as many tokens as the task allows it; False where either is not known."""
    return max_tokens is not None and any(number >= max_tokens for number in tokens)


def _read_task_criteria(results: dict[str, Any], task: str, row: Any) -> ScoringCriteria:
    direction = _read_map(_read_map(results, "higher_is_better"), task)
    names = {key.split(",", 1)[0] for key in row if "," in key} if isinstance(row, dict) else set()
    metrics = {name for name in names | set(direction) if not name.endswith(UNCERTAINTY) and name != NO_METRIC}
    key = _read_map(_read_map(results, "configs"), task).get("score_key")
    lower = {name: direction.get(name) is False for name in sorted(metrics)}
    return ScoringCriteria(lower, key if isinstance(key, str) else DEFAULT_SCORE_KEY)


def _read_map(of: dict[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}
