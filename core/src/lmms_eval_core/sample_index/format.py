"""The layout of an index, and what its header says.

    block of cards, block of cards, ..., columns of zone 0      for each zone of 65,536 rows
    ...
    header, its length (4 bytes), MAGIC                         at the end, as all else is known by then

A row is a line of the samples file, in its order. A column has one number of a fixed width for each row, little-endian;
the columns of a zone stand one after the other, each compressed by itself. A block has the cards of 64 rows: what a
list shows of a sample, its texts cut, as compressed JSON.
"""

import hashlib
import json
from collections.abc import Iterable
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmms_eval_core.media import MediaItem
from lmms_eval_core.sample_scoring import SampleFlag
from lmms_eval_core.store.compression import zstd

VERSION: Final = 1
MAGIC: Final = b"LMMSIDX\n"
ZONE_ROWS: Final = 65_536
BLOCK_ROWS: Final = 64
# The front end's worker has the memory to sort so many, and a sixth more.
MAX_ROWS: Final = 1_250_000
# lmms-eval's tasks have up to some dozens of metrics, of which most have one or two.
MAX_METRICS: Final = 16
MAX_FILTERS: Final = 32
MAX_NAME: Final = 200
# Characters of each text of a card.
CARD_TEXT: Final = 160
MAX_HEADER_BYTES: Final = 64 * 1024
TAIL_BYTES: Final = 4 + len(MAGIC)
# The cards of a block, as JSON: each character of a text may take twelve bytes.
MAX_BLOCK_BYTES: Final = 1024 * 1024
HASH_BYTES: Final = 6
UNKNOWN: Final = 0xFFFF_FFFF
# More than any content needs that compression does not help.
_PACKED_EXTRA: Final = 1024
_LEVEL: Final = 3
_DECODER_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}

# The bits of the column `flags`.
FLAG_BITS: Final[dict[SampleFlag, int]] = {flag: 1 << place for place, flag in enumerate(SampleFlag)}

# The columns of version 1, each with its type in `array`, or the number of bytes of a hash. `blocks` is the exception:
# where the blocks of the zone begin, and where the last one ends. Behind these come the values of the metrics, as "d",
# NaN where there is none.
COLUMNS: Final[dict[str, str | int]] = {
    "flags": "B",
    "blocks": "Q",
    "document": "q",
    "filter": "B",
    "frame": "Q",
    "offset": "I",
    "size": "I",
    "length": "I",
    "tokens": "I",
    "target": HASH_BYTES,
    "input": HASH_BYTES,
    "cluster": HASH_BYTES,
}
METRIC_TYPE: Final = "d"
WIDTHS: Final[dict[str, int]] = {"B": 1, "I": 4, "Q": 8, "q": 8, "d": 8}


class CardField(IntEnum):
    """The places of a card's fields in its list."""

    DOCUMENT = 0
    FILTER = 1
    FLAGS = 2
    LENGTH = 3
    TOKENS = 4
    PROMPT = 5
    TARGET = 6
    ANSWER = 7
    VALUES = 8
    # Null, or how many are not listed and then a `MediaItem` each. An index from before has cards without it.
    MEDIA = 9


def make_card_media(items: Iterable[MediaItem], more: int) -> list[Any]:
    """Return the place `MEDIA` of a card: how many are not listed, and a `MediaItem` each."""
    return [more, *(item.model_dump(mode="json", exclude_none=True) for item in items)]


class DamagedIndex(Exception):
    """The bytes are not an index as `writer` makes it; the message is the end of a sentence."""


class OmittedIndex(Exception):
    """The samples are not to be indexed; the message is the end of a sentence."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


Count = Annotated[int, Field(ge=0, le=MAX_ROWS)]
Name = Annotated[str, Field(max_length=MAX_NAME)]


class IndexedMetric(_Part):
    """A metric with a column of its own."""

    name: Name
    lower_is_better: bool = False


class Zone(_Part):
    """Rows that stand together: where their columns begin, the compressed bytes of each, and counts of each flag."""

    rows: Annotated[int, Field(ge=1, le=ZONE_ROWS)]
    start: Annotated[int, Field(ge=0)]
    sizes: list[Annotated[int, Field(ge=0)]]
    counts: Annotated[list[Count], Field(min_length=len(SampleFlag), max_length=len(SampleFlag))]

    def locate_columns(self, first: int, count: int) -> tuple[int, int]:
        """Return where `count` columns from the place `first` on begin, and how many bytes they have."""
        return self.start + sum(self.sizes[:first]), sum(self.sizes[first : first + count])

    def split_columns(self, content: bytes, first: int, count: int) -> list[bytes]:
        """Return the packed columns in the bytes that `locate_columns` has named."""
        ends = list(accumulate(self.sizes[first : first + count], initial=0))
        return [content[start:end] for start, end in pairwise(ends)]


class IndexHeader(_Part):
    """What stands at the end of an index. `omitted` says why there is nothing else in it."""

    version: Literal[1] = VERSION
    rows: Count = 0
    metrics: Annotated[list[IndexedMetric], Field(max_length=MAX_METRICS)] = Field(default_factory=list)
    omitted_metrics: Annotated[int, Field(ge=0)] = 0
    filters: Annotated[list[Name], Field(max_length=MAX_FILTERS)] = Field(default_factory=list)
    knows_truncated: bool = False
    columns: Annotated[list[Name], Field(max_length=2 * len(COLUMNS))] = Field(default_factory=lambda: list(COLUMNS))
    zones: list[Zone] = Field(default_factory=list)
    omitted: Annotated[str, Field(max_length=500)] = ""

    def count(self, flag: SampleFlag) -> int:
        """Return how many samples have a flag."""
        place = list(SampleFlag).index(flag)
        return sum(zone.counts[place] for zone in self.zones)

    def find_column(self, name: str) -> int:
        """Return the place of a column in a zone."""
        return self.columns.index(name)

    def find_metric(self, name: str) -> int | None:
        """Return the place of a metric's column in a zone; None for a metric without one."""
        names = [metric.name for metric in self.metrics]
        return len(self.columns) + names.index(name) if name in names else None


def encode_header(header: IndexHeader) -> bytes:
    """Return the end of an index. Raises OmittedIndex for one that is too long."""
    text = header.model_dump_json(exclude_defaults=True).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise OmittedIndex("their index has a header that is too long")
    return text + len(text).to_bytes(4, "little") + MAGIC


def decode_header(end: bytes, size: int) -> IndexHeader:
    """Return the header out of the last bytes of an index of `size` bytes. Raises DamagedIndex."""
    if len(end) < TAIL_BYTES or not end.endswith(MAGIC):
        raise DamagedIndex("has no end")
    length = int.from_bytes(end[-TAIL_BYTES : -len(MAGIC)], "little")
    if length > min(MAX_HEADER_BYTES, len(end) - TAIL_BYTES):
        raise DamagedIndex("has no header")
    try:
        header = IndexHeader.model_validate_json(end[-TAIL_BYTES - length : -TAIL_BYTES])
    except ValidationError:
        raise DamagedIndex("has a header that cannot be read") from None
    _check_header(header, size - TAIL_BYTES - length)
    return header


def _check_header(header: IndexHeader, room: int) -> None:
    columns = len(header.columns) + len(header.metrics)
    # Another release may add columns behind these.
    if header.columns[: len(COLUMNS)] != list(COLUMNS):
        raise DamagedIndex("lacks columns")
    if [zone.rows for zone in header.zones] != split_rows(header.rows):
        raise DamagedIndex("has other rows than its zones")
    for zone in header.zones:
        if len(zone.sizes) != columns or zone.start + sum(zone.sizes) > room:
            raise DamagedIndex("has zones that lie elsewhere")
        if any(size > max_packed(zone.rows * WIDTHS["d"]) for size in zone.sizes):
            raise DamagedIndex("has columns that are too long")
        if any(count > zone.rows for count in zone.counts):
            raise DamagedIndex("counts more samples than there are")


def split_rows(rows: int) -> list[int]:
    """Return how many rows each zone has."""
    return [min(ZONE_ROWS, rows - start) for start in range(0, rows, ZONE_ROWS)]


def max_packed(size: int) -> int:
    """Return the most bytes that content of `size` bytes is packed to."""
    return size + size // 128 + _PACKED_EXTRA


def pack(content: bytes) -> bytes:
    """Compress a column or a block."""
    return zstd.compress(content, level=_LEVEL)


def unpack(packed: bytes, max_bytes: int) -> bytes:
    """Return the content of a column or a block. Raises DamagedIndex, also where it is longer than `max_bytes`."""
    decoder = zstd.ZstdDecompressor(options=_DECODER_OPTIONS)
    try:
        content = decoder.decompress(packed, max_length=max_bytes + 1)
    except zstd.ZstdError:
        raise DamagedIndex("cannot be decompressed") from None
    if len(content) > max_bytes or not decoder.eof:
        raise DamagedIndex("has parts that are too long, or cut")
    return content


def make_document_key(document: Any) -> int:
    """Return a `doc_id` as the column `document` has it: an integer as it is, anything else by a negative hash."""
    if type(document) is int and 0 <= document < 1 << 62:
        return document
    return -1 - int.from_bytes(hash_value(document)[:HASH_BYTES], "little")


def hash_value(value: Any) -> bytes:
    """Return the first bytes of the SHA-256 of a value, a text as it is and all else as JSON."""
    text = value.encode("utf-8", "surrogatepass") if type(value) is str else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(text).digest()[:HASH_BYTES]
