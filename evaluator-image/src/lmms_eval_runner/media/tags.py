"""Marks the documents that an adapter takes from its data sets with their task, split and number. Pure.

Adapters call the function of the first request of a batch for all of it, even across tasks: which document something
was made of, the document itself has to say.
"""

import operator
from typing import Any, NamedTuple


class DocumentTag(NamedTuple):
    """Which document it is."""

    task: str
    split: str
    number: int


class TaggedDocument(dict[str, Any]):
    """A document, and which one it is."""

    __slots__ = ("tag",)
    tag: DocumentTag


def find_tag(document: Any) -> DocumentTag | None:
    """Return which document it is; None for one that is not marked."""
    return document.tag if type(document) is TaggedDocument else None


class TaggedTasks(dict[str, Any]):
    """The data sets of an adapter by task, whose documents are marked when they are taken out one by one."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__(tasks)
        self._tagged: dict[str, tuple[Any, Any]] = {}

    def __getitem__(self, task: str) -> Any:
        splits = super().__getitem__(task)
        source, tagged = self._tagged.get(task, (None, None))
        if source is not splits:
            tagged = _tag_splits(splits, task)
            self._tagged[task] = splits, tagged
        return tagged


def _tag_splits(splits: Any, task: str) -> Any:
    if not isinstance(splits, dict):
        return splits
    tagged = _copy_shallowly(splits, type(splits))
    for split, rows in splits.items():
        dict.__setitem__(tagged, split, _tag_rows(rows, task, split))
    return tagged


def _tag_rows(rows: Any, task: str, split: str) -> Any:
    """Return the same rows, marked when they are taken.

    Only those of `datasets` make each document anew: in a list a document is one object, which tasks may write into.
    """
    if not type(rows).__module__.startswith("datasets.") or not hasattr(rows, "__getitem__"):
        return rows
    base = type(rows)

    def get_item(self: Any, key: Any) -> Any:
        found = base.__getitem__(self, key)
        return _tag_document(found, task, split, key) if type(found) is dict else found

    def reduce(self: Any, protocol: Any) -> Any:
        # A copy that leaves the process, or is made to be changed, is what it was.
        return _make, (base, {}), vars(self)

    members = {"__getitem__": get_item, "__reduce_ex__": reduce, "__module__": base.__module__}
    return _copy_shallowly(rows, type(base.__name__, (base,), members))


def _tag_document(document: dict[str, Any], task: str, split: str, key: Any) -> dict[str, Any]:
    try:
        number = operator.index(key)
    except TypeError:
        return document
    tagged = TaggedDocument(document)
    tagged.tag = DocumentTag(task, split, number)
    return tagged


def _copy_shallowly(value: Any, kind: Any) -> Any:
    return _make(kind, getattr(value, "__dict__", {}))


def _make(kind: Any, fields: dict[str, Any]) -> Any:
    """Return an instance of a class with these fields, without its constructor."""
    made = kind.__new__(kind)
    if fields:
        vars(made).update(fields)
    return made
