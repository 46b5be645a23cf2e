"""Reads the columns of an index by which two evaluations are compared, and copies those of a baseline."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from lmms_eval_core import layout
from lmms_eval_core.compare.columns import DocumentColumns, ValueColumns
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_index.format import (
    MAX_HEADER_BYTES,
    TAIL_BYTES,
    IndexHeader,
    Zone,
    decode_header,
    encode_header,
)
from lmms_eval_core.store.errors import ObjectMissing
from lmms_eval_core.store.objects import ObjectStore

Packed = list[bytes]
# What tells documents apart, and which answers failed; the rest of an index is for lists of samples. Those of a group
# stand beside each other, with what is read in vain between them.
_GROUPS: Final = (("flags", "document", "filter"), ("target", "input", "cluster"))


class NoColumns(Exception):
    """There are no samples to compare; the message is a sentence."""


class TaskColumns(NamedTuple):
    """The packed columns of a task's samples, each of all zones: those that every index has, and values of metrics."""

    header: IndexHeader
    columns: Mapping[str, Packed]
    values: Mapping[str, Packed]

    @property
    def rows(self) -> list[int]:
        """How many rows each zone has."""
        return [zone.rows for zone in self.header.zones]

    def select_documents(self, filter_name: str) -> DocumentColumns:
        """Return what tells the documents of a filter apart."""
        number = self.header.filters.index(filter_name)
        return DocumentColumns(
            self.rows, number, *(self.columns[name] for name in ("document", "filter", "target", "input", "cluster"))
        )

    def select_values(self, filter_name: str, metric: str) -> ValueColumns:
        """Return the values of a metric under a filter."""
        number = self.header.filters.index(filter_name)
        return ValueColumns(self.rows, number, self.columns["filter"], self.columns["flags"], self.values[metric])


async def read_task_columns(
    store: ObjectStore, prefix: ArtifactPrefix, task: str, metrics: Iterable[str]
) -> TaskColumns:
    """Return the columns of a task, with the values of those of the metrics that the index has.

    Raises StoreError, DamagedIndex, and NoColumns where there is no index.
    """
    key = prefix.file(layout.index_file(layout.sample_file(task)))
    try:
        tail = await store.tail(key, length=MAX_HEADER_BYTES + TAIL_BYTES)
    except ObjectMissing:
        raise NoColumns(f"the samples of {prefix.name} are not indexed") from None
    header = decode_header(tail.content, tail.size)
    if header.omitted:
        raise NoColumns(f"the samples of {prefix.name} are not indexed: {header.omitted}")
    columns: dict[str, Packed] = {}
    for group in _GROUPS:
        first, last = header.find_column(group[0]), header.find_column(group[-1])
        found = await _read_adjacent(store, key, header, first, last - first + 1)
        columns |= {name: found[header.find_column(name) - first] for name in group}
    places = {name: place for name in metrics if (place := header.find_metric(name)) is not None}
    values = {name: (await _read_adjacent(store, key, header, place, 1))[0] for name, place in places.items()}
    return TaskColumns(header, columns, values)


async def _read_adjacent(store: ObjectStore, key: str, header: IndexHeader, first: int, count: int) -> list[Packed]:
    """Return packed columns, each of all zones, with one read for a zone."""
    split = []
    for zone in header.zones:
        start, length = zone.locate_columns(first, count)
        content = await store.range(key, start=start, length=length) if length else b""
        split.append(zone.split_columns(content, first, count))
    return [[columns[place] for columns in split] for place in range(count)]


def build_copy(found: TaskColumns) -> bytes:
    """Return an index of these columns alone: no cards, so that no text of the baseline is in it."""
    metrics = [metric for metric in found.header.metrics if metric.name in found.values]
    content, zones = bytearray(), []
    for number, zone in enumerate(found.header.zones):
        parts = [found.columns[name][number] if name in found.columns else b"" for name in found.header.columns]
        parts += [found.values[metric.name][number] for metric in metrics]
        zones.append(Zone(rows=zone.rows, start=len(content), sizes=[len(part) for part in parts], counts=zone.counts))
        content += b"".join(parts)
    header = found.header.model_copy(update={"metrics": metrics, "zones": zones})
    return bytes(content) + encode_header(header)


def compute_digest(results: bytes, copies: Sequence[bytes]) -> str:
    """Return the SHA-256 of a baseline's results and of the columns that were compared, in the order of its tasks."""
    digest = hashlib.sha256(hashlib.sha256(results).digest())
    for copy in copies:
        digest.update(hashlib.sha256(copy).digest())
    return digest.hexdigest()
