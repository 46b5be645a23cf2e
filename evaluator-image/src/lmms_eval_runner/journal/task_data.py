"""Tells the tasks of a run: their settings, their code, and the rows of their data sets without pictures and sounds."""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .identity import hash_json

_MEDIA: Final = ("Image", "Audio", "Video")
_ROWS_AT_ONCE: Final = 1000
_MAX_FILES: Final = 500
_MAX_DEPTH: Final = 12
_CODE: Final = ("*.py", "*.yaml", "*/*.py", "*/*.yaml")


def describe_task(task: Any, package: Path) -> str:
    """Return a hash of a task; `package` is the folder of lmms-eval, whose own machinery is no task's."""
    # What lmms-eval itself prints of them has the addresses of functions.
    settings = vars(task.config)
    functions = [*_list_functions(settings), type(task)]
    return hash_json([_describe(settings), _hash_code(functions, package), _hash_rows(task)])


def _describe(value: Any, depth: int = 0) -> Any:
    """Return settings without addresses and folders: functions count by name, and by their file."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {str(key): _describe(part, depth + 1) for key, part in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        parts = [_describe(part, depth + 1) for part in value]
        return parts if isinstance(value, list | tuple) else sorted(map(str, parts))
    return getattr(value, "__qualname__", type(value).__name__)


def _list_functions(value: Any, depth: int = 0) -> Iterator[Callable[..., Any]]:
    if callable(value):
        yield inspect.unwrap(getattr(value, "func", value))
    elif depth < _MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _list_functions(part, depth + 1)


def _hash_code(functions: Iterable[Any], package: Path) -> str:
    """Return a hash of the code in the folders where the functions are."""
    own = package / "tasks"
    folders = set()
    for function in functions:
        try:
            path = Path(inspect.getfile(function))
        except (TypeError, OSError):
            continue
        if not path.is_relative_to(package) or path.is_relative_to(own):
            folders.add(path.parent)
    digest = hashlib.sha256()
    for folder in sorted(folders):
        # No deeper: data may lie beside it.
        files = sorted(path for pattern in _CODE for path in folder.glob(pattern) if path.is_file())
        for path in files[:_MAX_FILES]:
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _hash_rows(task: Any) -> dict[str, Any]:
    config = task.config
    splits = {getattr(config, name, None) for name in ("test_split", "validation_split", "fewshot_split")}
    data = getattr(task, "dataset_no_image", None) or getattr(task, "dataset", None) or {}
    if not isinstance(data, Mapping):
        return {}
    return {split: _hash_split(data[split]) for split in sorted(filter(None, splits)) if split in data}


def _hash_split(rows: Any) -> list[Any]:
    """Return the length of a split, and a hash of its rows without media."""
    if not hasattr(rows, "with_format"):
        return [len(rows) if hasattr(rows, "__len__") else None, hash_json(list(rows)[:_ROWS_AT_ONCE])]
    kept = [name for name, kind in rows.features.items() if not _has_media(kind)]
    digest = hashlib.sha256(repr(sorted(rows.features)).encode())
    if kept:
        for table in rows.select_columns(sorted(kept)).with_format("arrow").iter(_ROWS_AT_ONCE):
            for column in table.combine_chunks().columns:
                digest.update(_serialise(column))
    return [len(rows), digest.hexdigest()[:20]]


def _serialise(column: Any) -> memoryview:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    # Written without what lies before and after the rows in the buffers.
    batch = pyarrow.record_batch([column.combine_chunks()], names=["column"])
    with pyarrow.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return memoryview(sink.getvalue())


def _has_media(kind: Any) -> bool:
    if type(kind).__name__ in _MEDIA:
        return True
    if isinstance(kind, Mapping):
        return any(map(_has_media, kind.values()))
    if isinstance(kind, list | tuple):
        return any(map(_has_media, kind))
    return hasattr(kind, "feature") and _has_media(kind.feature)
