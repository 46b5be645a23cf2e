"""Reads parts of an index: which rows are wanted, and their cards. Whatever the bytes are, it ends in bounded memory.

Everything raises DamagedIndex where the bytes are not what `writer` makes.
"""

import json
import operator
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, compress, repeat
from math import isnan
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from lmms_eval_core.json_text import parse_excess
from lmms_eval_core.media import MAX_ITEMS, MediaItem
from lmms_eval_core.sample_index.format import (
    BLOCK_ROWS,
    CARD_TEXT,
    FLAG_BITS,
    HASH_BYTES,
    MAX_BLOCK_BYTES,
    MAX_METRICS,
    METRIC_TYPE,
    UNKNOWN,
    WIDTHS,
    CardField,
    DamagedIndex,
    Zone,
    max_packed,
    unpack,
)
from lmms_eval_core.sample_scoring import SampleFlag

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_CONDITION: Final = re.compile(
    r"(?P<metric>.{1,200}?)(?P<sign><=|>=|!=|<|>|=)\s*(?P<number>[-+0-9.eE]{1,40})\s*", re.DOTALL
)


class Condition(NamedTuple):
    """What is asked of a metric's value, as `acc<0.5`."""

    metric: str
    sign: str
    number: float


def parse_condition(text: str) -> Condition | None:
    """Return the condition that a text means; None if it means none."""
    found = _CONDITION.fullmatch(text)
    try:
        return Condition(found["metric"].strip(), found["sign"], float(found["number"])) if found else None
    except ValueError:
        return None


class BlockRange(NamedTuple):
    """The bytes from `start` to `end` of an index, which hold the cards of the rows from `first` on."""

    first: int
    start: int
    end: int


def find_flagged(packed: bytes, rows: int, flag: SampleFlag, *, start: int, limit: int) -> list[int]:
    """Return the first rows of a zone, from `start` on, that have a flag. `packed` is its column `flags`."""
    flags = _read_bytes(packed, rows)
    matching = flags.translate(_make_table(flag))
    found: list[int] = []
    place = matching.find(1, start)
    while place >= 0 and len(found) < limit:
        found.append(place)
        place = matching.find(1, place + 1)
    return found


def find_blocks(packed: bytes, zone: Zone, rows: Iterable[int]) -> list[BlockRange]:
    """Return where the cards of these rows of a zone are, in its numbers of rows. `packed` is its column `blocks`."""
    offsets = read_numbers(packed, "Q", -(-zone.rows // BLOCK_ROWS) + 1)
    found = []
    for block in sorted({row // BLOCK_ROWS for row in rows}):
        start, end = offsets[block], offsets[block + 1]
        if not start < end <= zone.start or end - start > max_packed(MAX_BLOCK_BYTES):
            raise DamagedIndex("has cards that lie elsewhere")
        found.append(BlockRange(block * BLOCK_ROWS, start, end))
    return found


def read_numbers(packed: bytes, kind: str, rows: int) -> "array[Any]":
    """Return a column, or a part of one."""
    numbers = array(kind)
    numbers.frombytes(_read_bytes(packed, rows * WIDTHS[kind]))
    return numbers


def read_column(packed: Sequence[bytes], kind: str, rows: Sequence[int]) -> "array[Any]":
    """Return a column of all zones, which have so many `rows`."""
    numbers = array(kind)
    for part, count in zip(packed, rows, strict=True):
        numbers.frombytes(_read_bytes(part, count * WIDTHS[kind]))
    return numbers


def read_hashes(packed: Sequence[bytes], rows: Sequence[int]) -> bytes:
    """Return a column of hashes of all zones, `HASH_BYTES` for each row."""
    return b"".join(_read_bytes(part, count * HASH_BYTES) for part, count in zip(packed, rows, strict=True))


def read_flag(packed: Sequence[bytes], rows: Sequence[int], flag: SampleFlag) -> bytes:
    """Return 1 for each row with a flag, else 0; `packed` is the column `flags` of all zones."""
    parts = (_read_bytes(part, count) for part, count in zip(packed, rows, strict=True))
    return b"".join(parts).translate(_make_table(flag))


def find_document(packed: bytes, rows: int, key: int) -> list[int]:
    """Return the rows of a zone with this key of a document."""
    documents = read_numbers(packed, "q", rows)
    found, place = [], -1
    for _ in range(documents.count(key)):
        place = documents.index(key, place + 1)
        found.append(place)
    return found


class Order(NamedTuple):
    """Which rows are wanted, and in which order: by packed columns of all zones, one after the other.

    `sort_type` is the type of the numbers in the column to sort by.
    """

    flag: SampleFlag | None = None
    flags: Sequence[bytes] = ()
    conditions: Sequence[tuple[Condition, Sequence[bytes]]] = ()
    sort: Sequence[bytes] = ()
    sort_type: str = METRIC_TYPE
    descending: bool = False


def order_rows(rows: Sequence[int], wanted: Order) -> bytes:
    """Return the numbers of the wanted rows, four bytes each. `rows` are those of each zone.

    Rows without a number to sort by stand at the end.
    """
    found: Iterable[int] = range(sum(rows))
    if wanted.flag is not None:
        found = compress(found, read_flag(wanted.flags, rows, wanted.flag))
    for condition, packed in wanted.conditions:
        holds, values = _COMPARISONS[condition.sign], read_column(packed, METRIC_TYPE, rows)
        if condition.sign == "!=":
            # A sample without a number does not differ from one.
            found = [row for row in found if values[row] == values[row] != condition.number]
        else:
            found = [row for row in found if holds(values[row], condition.number)]
    return array("I", _sort_rows(found, rows, wanted) if wanted.sort else found).tobytes()


def _sort_rows(found: Iterable[int], rows: Sequence[int], wanted: Order) -> Iterable[int]:
    values = read_column(wanted.sort, wanted.sort_type, rows)
    known, unknown = list(found), list[int]()
    # Most columns have a number for each row, and to look at all of a column at once is quick.
    if wanted.sort_type == METRIC_TYPE:
        if any(map(isnan, values)):
            unknown = [row for row in known if isnan(values[row])]
            known = [row for row in known if not isnan(values[row])]
    elif UNKNOWN in values:
        unknown = [row for row in known if values[row] == UNKNOWN]
        known = [row for row in known if values[row] != UNKNOWN]
    known.sort(key=values.__getitem__, reverse=wanted.descending)
    return chain(known, unknown)


def read_cards(packed: bytes, rows: int, metrics: int, places: Iterable[int] | None = None) -> list[list[Any]]:
    """Return the cards of a block, which has `rows` of them, by `CardField`.

    Only those at `places` are sure to be cards, or without it all.
    """
    text = unpack(packed, MAX_BLOCK_BYTES)
    if parse_excess(text):
        raise DamagedIndex("has cards with too much in them")
    try:
        cards = json.loads(text)
    except ValueError:
        raise DamagedIndex("has cards that are no JSON") from None
    if not isinstance(cards, list) or len(cards) != rows:
        raise DamagedIndex("has cards that are none")
    wanted = cards if places is None else [cards[place] for place in places]
    if not all(map(_is_card, wanted, repeat(metrics))):
        raise DamagedIndex("has cards that are none")
    return cards


def read_card_media(card: list[Any]) -> tuple[list[MediaItem], int]:
    """Return the media of a card, and how many are not listed; those of another shape count as not listed."""
    found = card[CardField.MEDIA] if len(card) > CardField.MEDIA else None
    if not isinstance(found, list) or not found or not _is_count(found[0]):
        return [], 0
    items = [item for item in map(_parse_item, found[1 : 1 + MAX_ITEMS]) if item is not None]
    return items, found[0] + len(found) - 1 - len(items)


def _parse_item(content: Any) -> MediaItem | None:
    try:
        return MediaItem.model_validate(content)
    except ValidationError:
        return None


def _is_card(card: Any, metrics: int) -> bool:
    # Of another release a card may have more.
    if not isinstance(card, list) or len(card) < CardField.MEDIA:
        return False
    document, filter_number, flags, length, tokens, prompt, target, answer, values = card[: CardField.MEDIA]
    return (
        (document is None or _is_count(document) or _is_text(document))
        and all(map(_is_count, (filter_number, flags, length)))
        and (tokens is None or _is_count(tokens))
        and all(map(_is_text, (prompt, target, answer)))
        and isinstance(values, list)
        and len(values) == metrics <= MAX_METRICS
        and all(value is None or type(value) in (int, float) for value in values)
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= CARD_TEXT


def _read_bytes(packed: bytes, size: int) -> bytes:
    content = unpack(packed, size)
    if len(content) != size:
        raise DamagedIndex("has parts that are too short")
    return content


def _make_table(flag: SampleFlag) -> bytes:
    bit = FLAG_BITS[flag]
    return bytes(1 if value & bit else 0 for value in range(256))
