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
# What tells documents apart, and which answers failed; the rest of an index is for lists of samples.
COPIED: Final = ("flags", "document", "filter", "target", "input", "cluster")


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
    columns = {name: await _read_column(store, key, header, header.find_column(name)) for name in COPIED}
    places = {name: place for name in metrics if (place := header.find_metric(name)) is not None}
    values = {name: await _read_column(store, key, header, place) for name, place in places.items()}
    return TaskColumns(header, columns, values)


async def _read_column(store: ObjectStore, key: str, header: IndexHeader, place: int) -> Packed:
    return [
        await store.range(key, start=zone.start + sum(zone.sizes[:place]), length=zone.sizes[place])
        if zone.sizes[place]
        else b""
        for zone in header.zones
    ]


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
