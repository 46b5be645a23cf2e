"""Cards as JSON, out of the bytes of an index; runs in the worker process. Pure."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from lmms_eval_core.json_text import parse_line
from lmms_eval_core.sample_index.format import BLOCK_ROWS, FLAG_BITS, CardField, IndexHeader, make_document_key
from lmms_eval_core.sample_index.reader import BlockRange, read_card_media, read_cards

# Neighbouring blocks are read at once where no more than this is between them: a further request takes longer.
_GAP_BYTES: Final = 64 * 1024
_RANGE_BYTES: Final = 1024 * 1024
_GROUP_BYTES: Final = 2 * 1024 * 1024


class CardNames:
    """What a header says about cards: less than all of it, for the way to the worker."""

    def __init__(self, header: IndexHeader) -> None:
        self.metrics = [metric.name for metric in header.metrics]
        self.filters = header.filters


class CardRange(NamedTuple):
    """Bytes of an index that are read at once: blocks of a zone whose first row is `first`, and which has `rows`."""

    first: int
    rows: int
    blocks: list[BlockRange]

    @property
    def start(self) -> int:
        """The first byte."""
        return self.blocks[0].start

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.blocks[-1].end - self.start


def join_blocks(first: int, rows: int, blocks: Sequence[BlockRange]) -> list[CardRange]:
    """Return the ranges to read for blocks of a zone, which stand in their order."""
    ranges: list[CardRange] = []
    for block in blocks:
        last = ranges[-1] if ranges else None
        near = last is not None and block.start - last.blocks[-1].end <= _GAP_BYTES
        if last is not None and near and block.end - last.start <= _RANGE_BYTES:
            last.blocks.append(block)
        else:
            ranges.append(CardRange(first, rows, [block]))
    return ranges


def group_ranges(ranges: Iterable[CardRange]) -> Iterator[list[CardRange]]:
    """Yield the ranges in groups, each for one call of the worker, of about `_GROUP_BYTES` at most."""
    group: list[CardRange] = []
    size = 0
    for place in ranges:
        if group and size + place.length > _GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(place)
        size += place.length
    if group:
        yield group


def render_cards(read: Sequence[tuple[CardRange, bytes]], wanted: frozenset[int], names: CardNames) -> dict[int, bytes]:
    """Return the wanted cards in the bytes of ranges, by row. Raises DamagedIndex."""
    found = {}
    for place, content in read:
        for block in place.blocks:
            packed = content[block.start - place.start : block.end - place.start]
            rows, first = min(BLOCK_ROWS, place.rows - block.first), place.first + block.first
            places = [row - first for row in wanted.intersection(range(first, first + rows))]
            cards = read_cards(packed, rows, len(names.metrics), places)
            for number in places:
                found[first + number] = json.dumps(_describe(first + number, cards[number], names)).encode()
    return found


def _describe(row: int, card: list[Any], names: CardNames) -> dict[str, Any]:
    """Return the fields of a `SampleCard`."""
    number = card[CardField.FILTER]
    media, media_more = read_card_media(card)
    return {
        "row": row,
        "doc_id": card[CardField.DOCUMENT],
        "filter": names.filters[number] if number < len(names.filters) > 1 else None,
        "flags": [flag for flag, bit in FLAG_BITS.items() if card[CardField.FLAGS] & bit],
        "prompt": card[CardField.PROMPT],
        "target": card[CardField.TARGET],
        "answer": card[CardField.ANSWER],
        "length": card[CardField.LENGTH],
        "tokens": card[CardField.TOKENS],
        "metrics": dict(zip(names.metrics, card[CardField.VALUES], strict=True)),
        "media": [item.model_dump(mode="json") for item in media],
        "media_more": media_more,
    }


def has_document(sample: bytes, key: int) -> bool:
    """Return whether a sample is of the document with this key, as far as it is shown."""
    found = parse_line(sample)
    return isinstance(found, dict) and ("omitted" in found or make_document_key(found.get("doc_id")) == key)
