"""The tasks, groups and tags that lmms-eval has indexed, with what their own files say. No data set is loaded."""

from collections.abc import Mapping
from typing import Any, Final

from lmms_eval_core.catalogue import KnownTask, TaskKind

# lmms-eval's words for a name; a `python_task` is a task whose file names a class.
_KINDS: Final = {"group": TaskKind.GROUP, "tag": TaskKind.TAG}
# Where a tag has a path, it has this one: no file defines it.
_NO_FILE: Final = -1


def list_known_tasks(include_path: str = "") -> list[KnownTask]:
    """Return the tasks, groups and tags of `TaskManager` in its order, with those of a folder beside its own."""
    from lmms_eval.tasks import TaskManager
    from lmms_eval.utils import load_yaml_config

    manager = TaskManager(include_path=include_path or None)
    found = []
    for name in manager.all_tasks:
        entry = manager.task_index[name]
        path = entry["yaml_path"]
        # "simple": functions that a file names are not imported.
        found.append(describe_task(name, entry, {} if path == _NO_FILE else load_yaml_config(path, mode="simple")))
    return found


def describe_task(name: str, entry: Mapping[str, Any], config: Mapping[str, Any]) -> KnownTask:
    """Return one task, group or tag, from its entry in the index and its own file."""
    kind = _KINDS.get(entry["type"], TaskKind.TASK)
    if kind is not TaskKind.TASK:
        return KnownTask(name=name, kind=kind, members=_list_members(config if kind is TaskKind.GROUP else entry))
    return KnownTask(
        name=name,
        kind=kind,
        dataset=_keep_text(config.get("dataset_path")),
        output_type=_keep_text(config.get("output_type")),
        metrics=_sort_names(item.get("metric") for item in config.get("metric_list") or [] if isinstance(item, dict)),
    )


def _list_members(entry: Mapping[str, Any]) -> list[str]:
    """Return the members of a group, which names them or defines them in place, nested groups among them."""
    items = entry.get("task") or []
    return _sort_names(_find_name(item) if isinstance(item, dict) else item for item in items)


def _find_name(item: Mapping[str, Any]) -> Any:
    return item["task"] if isinstance(item.get("task"), str) else item.get("group")


def _sort_names(items: Any) -> list[str]:
    """Return each name once, sorted: the index follows the order in which the disk lists files."""
    return sorted({item for item in items if isinstance(item, str)})


def _keep_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
