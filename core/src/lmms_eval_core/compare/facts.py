"""What a run says of itself: its settings, and for each task what its results file says. Pure.

Objects and files are read key by key: another release may have written them, and user code the results.
"""

import json
import math
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic.alias_generators import to_camel

from lmms_eval_core.results_file import UNCERTAINTY, build_score_table
from lmms_eval_core.run import HarnessArguments
from lmms_eval_core.sample_scoring import NO_METRIC

# Of a run; lmms-eval's largest groups have some hundreds of tasks.
MAX_TASKS: Final = 512
# Of one task; lmms-eval's own ones have up to some dozens.
MAX_METRICS: Final = 64
# What makes two evaluations the same: then one is a rerun of the other.
_IDENTITY: Final = (*map(to_camel, HarnessArguments.model_fields), "trustRemoteCode", "image")
# What every evaluation chooses for itself, what is told in another way, and what changes no answer by design.
_OWN: Final = frozenset(
    {"model", "modelArgs", "tasks", "limit", "offset", "batchSize", "logSamples", "predictOnly", "image"}
)
# The other options change what is asked, how it is answered, or how it is scored.
SETTINGS: Final = tuple(name for name in _IDENTITY if name not in _OWN)


class MetricFact(NamedTuple):
    """A metric under one of a task's filters, as the results file has it."""

    name: str
    filter: str
    value: float | None
    lower_is_better: bool

    @property
    def key(self) -> str:
        """The name in results files and scores."""
        return f"{self.name},{self.filter}"


class TaskFacts(NamedTuple):
    """A task or group in a results file. `documents` is how many it could have had, `evaluated` how many it had."""

    name: str
    version: str = ""
    fewshot: str = ""
    documents: int | None = None
    evaluated: int | None = None
    is_group: bool = False
    metrics: tuple[MetricFact, ...] = ()

    def find_metric(self, key: str) -> MetricFact | None:
        """Return a metric by its name in the results file."""
        return next((metric for metric in self.metrics if metric.key == key), None)

    def list_common_metrics(self, other: "TaskFacts", filter_name: str) -> "list[MetricFact]":
        """Return the metrics of a filter that both results files have, in the order of this one."""
        return [
            metric
            for metric in self.metrics
            if metric.filter == filter_name and other.find_metric(metric.key) is not None
        ]


class RunFacts(NamedTuple):
    """A run: who it is, how it was set up, and what it says of its tasks."""

    name: str
    model: str = ""
    settings: Mapping[str, Any] = {}
    versions: Mapping[str, str] = {}
    predict_only: bool = False
    suspect: str = ""
    identity: str = ""
    tasks: Mapping[str, TaskFacts] = {}

    def is_rerun_of(self, other: "RunFacts") -> bool:
        """Whether both ask for exactly the same."""
        return bool(self.identity) and self.identity == other.identity


def read_run_facts(document: Mapping[str, Any], tasks: Mapping[str, TaskFacts], *, suspect: str = "") -> RunFacts:
    """Return the facts of an LMMEvaluation with the `tasks` of its results file; `suspect` says what is doubtful."""
    spec, status = document["spec"], document.get("status", {})
    usage = status.get("usage") or {}
    versions = {str(name): str(value) for name, value in (usage.get("versions") or {}).items()}
    return RunFacts(
        document["metadata"]["name"],
        str(spec.get("model", "")),
        {name: spec[name] for name in SETTINGS if spec.get(name) is not None},
        versions | ({"image": str(usage["image"])} if usage.get("image") else {}),
        bool(spec.get("predictOnly")),
        suspect,
        json.dumps({name: spec.get(name) for name in _IDENTITY}, sort_keys=True),
        tasks,
    )


def read_task_facts(results: dict[str, Any]) -> dict[str, TaskFacts]:
    """Return the tasks and groups in a results file, in its order."""
    scores = build_score_table(results, max_tasks=MAX_TASKS).scores
    groups = _read_map(results, "groups")
    return {
        task: TaskFacts(
            task,
            str(_read_map(results, "versions").get(task, "")),
            str(_read_map(results, "n-shot").get(task, "")),
            *_read_counts(_read_map(_read_map(results, "n-samples"), task)),
            task in groups,
            tuple(
                MetricFact(*_split_key(key), metric.value, _is_lower_better(results, task, key))
                for key, metric in islice(metrics.items(), MAX_METRICS)
                if not key.startswith(f"{NO_METRIC},") and not _split_key(key)[0].endswith(UNCERTAINTY)
            ),
        )
        for task, metrics in scores.items()
    }


def _split_key(key: str) -> tuple[str, str]:
    name, _, filter_name = key.partition(",")
    return name, filter_name


def _is_lower_better(results: dict[str, Any], task: str, key: str) -> bool:
    return _read_map(_read_map(results, "higher_is_better"), task).get(_split_key(key)[0]) is False


def _read_counts(counts: dict[str, Any]) -> tuple[int | None, int | None]:
    return _to_count(counts.get("original")), _to_count(counts.get("effective"))


def _to_count(value: Any) -> int | None:
    if type(value) is float and math.isfinite(value):
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def _read_map(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    return value if isinstance(value, dict) else {}
