"""From lmms-eval's index and task files to the catalogue's lines."""

from typing import Any

import pytest

from lmms_eval_core.catalogue import KnownTask, TaskKind
from lmms_eval_runner.catalogue.tasks import describe_task

FUNCTION = object()
TASK = {"type": "task", "yaml_path": "/t.yaml"}
GROUP = {"type": "group", "yaml_path": "/g.yaml", "task": -1}
TAG = {"type": "tag", "yaml_path": -1, "task": ["b", "a", "b"]}


def task(**fields: Any) -> KnownTask:
    return KnownTask(name="x", kind=TaskKind.TASK, **fields)


@pytest.mark.parametrize(
    ("entry", "config", "known"),
    [
        (TASK, {}, task()),
        ({"type": "python_task", "yaml_path": "/t.yaml"}, {"class": FUNCTION}, task()),
        (
            TASK,
            {
                "dataset_path": "org/set",
                "output_type": "generate_until",
                "metric_list": [{"metric": "b"}, {"metric": "a"}],
            },
            task(dataset="org/set", output_type="generate_until", metrics=["a", "b"]),
        ),
        (
            TASK,
            {"dataset_path": FUNCTION, "output_type": None, "metric_list": [None, {"metric": FUNCTION}, {}]},
            task(),
        ),
        (TASK, {"metric_list": None, "task": "x", "tag": ["a"]}, task()),
        (TAG, {}, KnownTask(name="x", kind=TaskKind.TAG, members=["a", "b"])),
        (
            GROUP,
            {
                "group": "x",
                "task": ["c", {"task": "a", "num_fewshot": 5}, {"group": "b", "task": ["d"]}, {"task": ["e"]}],
            },
            KnownTask(name="x", kind=TaskKind.GROUP, members=["a", "b", "c"]),
        ),
    ],
)
def test_an_entry_of_the_index_becomes_a_line(entry: dict[str, Any], config: dict[str, Any], known: KnownTask) -> None:
    assert describe_task("x", entry, config) == known
