"""Reads indexes of samples: a page of cards, filtered, searched or sorted, and where one sample is.

Only ranges of an index are read, and its bytes are looked at in the worker process.
"""

import asyncio
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, ParamSpec, TypeVar

from lmms_eval_api.artifacts.byte_cache import ByteCache
from lmms_eval_api.artifacts.frames import InvalidSampleCursor, Position
from lmms_eval_api.artifacts.sample_cards import (
    CardNames,
    CardRange,
    group_ranges,
    has_document,
    join_blocks,
    render_cards,
)
from lmms_eval_api.artifacts.sample_search import SampleSearch
from lmms_eval_api.artifacts.samples import SampleReader, WantedSamples
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, UnusableArtifact, read_within
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core.sample_index.format import (
    COLUMNS,
    MAX_HEADER_BYTES,
    METRIC_TYPE,
    TAIL_BYTES,
    ZONE_ROWS,
    DamagedIndex,
    IndexHeader,
    decode_header,
    make_document_key,
)
from lmms_eval_core.sample_index.reader import (
    Condition,
    Order,
    find_blocks,
    find_document,
    find_flagged,
    order_rows,
    read_numbers,
)
from lmms_eval_core.sample_scoring import SampleFlag
from lmms_eval_core.store.errors import StoreError

P = ParamSpec("P")
T = TypeVar("T")

# Of all indexes together: orders of rows, and parts of zones.
KEPT_BYTES: Final = 32 * 1024 * 1024
KEPT_HEADERS: Final = 256
READS_AT_ONCE: Final = 16
# Why there is no index, where nothing says more: the end of a sentence.
NOT_INDEXED: Final = "it ended before there were indexes, or none could be made"
# What can be sorted by, beside metrics.
SORT_COLUMNS: Final = ("tokens", "length")


class OpenIndex(NamedTuple):
    """An index of the samples in the file `samples`."""

    key: str
    samples: str
    header: IndexHeader

    @property
    def rows(self) -> list[int]:
        """How many rows each zone has."""
        return [zone.rows for zone in self.header.zones]


class CardQuery(NamedTuple):
    """Which cards, in which order: that of the file without `sort`. `text` is searched in the samples themselves."""

    flag: SampleFlag | None = None
    conditions: tuple[Condition, ...] = ()
    sort: str | None = None
    descending: bool = False
    text: str | None = None

    @property
    def is_ordered(self) -> bool:
        """Whether all rows are looked at before the first page."""
        return bool(self.conditions) or self.sort is not None


class CardPosition(NamedTuple):
    """Where a page begins: at a row, or at a place in an order; in a search, also where that row is in the file."""

    place: int = 0
    frame: int = 0
    at: int = 0


class CardWindow(NamedTuple):
    """Which page, by how many cards come before it; or, of pages of one size, the one with the row `around`."""

    place: int = 0
    around: int | None = None


class CardPage(NamedTuple):
    """Cards as JSON. `matched` is None where nobody has counted; `scanned` rows were looked at so far.

    `place` says how many wanted cards come before these, where that is known.
    """

    cards: list[bytes]
    matched: int | None
    scanned: int
    next: CardPosition | None
    place: int | None = None


class FoundSample(NamedTuple):
    """A sample and its card, as JSON."""

    sample: bytes
    card: bytes


class UnknownColumn(Exception):
    """The index has no such metric, or cannot be sorted by it; the message is its name."""


class SampleIndexReader:
    """Every method raises StoreError; UnusableArtifact for an index that is not as we write it."""

    def __init__(self, store: ArtifactStore, worker: Worker, samples: SampleReader, *, at_once: int = 4) -> None:
        self._store = store
        self._worker = worker
        self._samples = samples
        self._turns = asyncio.Semaphore(at_once)
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._headers: OrderedDict[str, OpenIndex] = OrderedDict()
        self._kept = ByteCache(KEPT_BYTES)

    async def open(self, key: str, *, samples: str) -> OpenIndex:
        """Return an index, which never changes. Raises ObjectMissing without one."""
        index = self._headers.pop(key, None)
        if index is None:
            tail = await self._ask(key, self._store.tail(key, length=MAX_HEADER_BYTES + TAIL_BYTES))
            index = OpenIndex(key, samples, await self._call(key, decode_header, tail.content, tail.size))
        self._headers[key] = index
        if len(self._headers) > KEPT_HEADERS:
            self._headers.popitem(last=False)
        return index

    async def read_page(self, index: OpenIndex, query: CardQuery, start: CardPosition, limit: int) -> CardPage:
        """Return the cards from `start` on. Raises UnknownColumn, and InvalidSampleCursor for a wrong `start`."""
        async with self._turns:
            if query.text is not None:
                return await self._search(index, query, start, limit)
            if query.is_ordered:
                rows = await self._order(index, query)
                wanted, following = list(rows[start.place : start.place + limit]), start.place + limit
                matched, end = len(rows), len(rows)
            else:
                wanted, following = await self._list(index, query.flag, start.place, limit)
                matched, end = index.header.count(query.flag) if query.flag else index.header.rows, index.header.rows
            cards = await self._read_cards(index, wanted)
        following_page = CardPosition(following) if following < end else None
        # With a flag alone, a position is a row.
        place = start.place if not start.place or query.flag is None or query.is_ordered else None
        return CardPage(cards, matched, index.header.rows, following_page, place)

    async def read_window(self, index: OpenIndex, query: CardQuery, window: CardWindow, limit: int) -> CardPage:
        """Return the cards of a page anywhere in the list, which is no search. Raises UnknownColumn."""
        total = index.header.rows
        async with self._turns:
            is_whole = query.flag is None and not query.is_ordered
            rows: Sequence[int] = range(total) if is_whole else await self._order(index, query)
            place = window.place
            if window.around is not None:
                place = min(find_place(rows, window.around, is_sorted=query.sort is not None), max(len(rows) - 1, 0))
                place -= place % limit
            wanted, following = list(rows[place : place + limit]), place + limit
            cards = await self._read_cards(index, wanted)
        position = None
        if following < len(rows):
            position = CardPosition(following if is_whole or query.is_ordered else rows[following])
        return CardPage(cards, len(rows), total, position, place)

    async def read_sample(self, index: OpenIndex, document: int | str, filter_name: str | None) -> FoundSample:
        """Return the first sample of a document; LookupError where there is none."""
        row = await self._find_row(index, document, filter_name)
        zone, place = divmod(row, ZONE_ROWS)
        frame, offset = await self._read_columns(index, zone, "frame", "offset")
        rows = index.header.zones[zone].rows
        at = Position(
            (await self._call(index.key, read_numbers, frame, "Q", rows))[place],
            (await self._call(index.key, read_numbers, offset, "I", rows))[place],
        )
        (card,) = await self._read_cards(index, [row])
        try:
            found = (await self._samples.read_page(WantedSamples(index.samples), start=at, limit=1)).samples
        except InvalidSampleCursor:
            found = []
        if not found or not await self._call(index.key, has_document, found[0], make_document_key(document)):
            raise UnusableArtifact(index.key, "the index of these samples leads to other ones")
        return FoundSample(found[0], card)

    async def read_rows(self, index: OpenIndex, rows: Sequence[int]) -> list[bytes]:
        """Return the cards of these rows, in their order."""
        async with self._turns:
            return await self._read_cards(index, rows)

    async def read_adjacent(self, index: OpenIndex, first: int, count: int) -> list[list[bytes]]:
        """Return `count` packed columns, from the place `first` on, each of all zones; with one read for a zone."""
        zones = index.header.zones
        reads = (self._read_at_once(index, *zone.locate_columns(first, count)) for zone in zones)
        contents = await asyncio.gather(*reads)
        split = [zone.split_columns(content, first, count) for zone, content in zip(zones, contents, strict=True)]
        return [[columns[place] for columns in split] for place in range(count)]

    async def _find_row(self, index: OpenIndex, document: int | str, filter_name: str | None) -> int:
        key, header = make_document_key(document), index.header
        wanted = 0
        if filter_name is not None:
            if filter_name not in header.filters:
                raise LookupError
            wanted = header.filters.index(filter_name)
        # A file that is sorted has the document where its number says.
        guess = key // ZONE_ROWS if 0 <= key < header.rows else 0
        for zone in sorted(range(len(header.zones)), key=lambda number: number != guess):
            documents, filters = await self._read_columns(index, zone, "document", "filter")
            rows = header.zones[zone].rows
            places = await self._call(index.key, find_document, documents, rows, key)
            if places:
                numbers = await self._call(index.key, read_numbers, filters, "B", rows)
                found = [place for place in places if filter_name is None or numbers[place] == wanted]
                if found:
                    return zone * ZONE_ROWS + found[0]
        raise LookupError

    async def _list(self, index: OpenIndex, flag: SampleFlag | None, start: int, limit: int) -> tuple[list[int], int]:
        """Return rows in the file's order, and the row to go on with."""
        total = index.header.rows
        if flag is None:
            return list(range(start, min(start + limit, total))), start + limit
        found: list[int] = []
        place = list(SampleFlag).index(flag)
        for number in range(start // ZONE_ROWS, len(index.header.zones)):
            zone, first = index.header.zones[number], number * ZONE_ROWS
            if not zone.counts[place]:
                continue
            flags, _ = await self._read_columns(index, number, "flags", "blocks")
            rest = limit + 1 - len(found)
            begin = max(start - first, 0)
            rows = await self._call(index.key, find_flagged, flags, zone.rows, flag, start=begin, limit=rest)
            found += [first + row for row in rows]
            if len(found) > limit:
                return found[:limit], found[limit]
        return found, total

    async def _order(self, index: OpenIndex, query: CardQuery) -> "array[int]":
        """Return the rows that a query wants, in its order."""
        known = f"{index.key}?{query._replace(text=None)!r}"
        packed = self._kept.get(known)
        if packed is None:
            packed = await self._call(index.key, order_rows, index.rows, await self._read_order(index, query))
            self._kept.put(known, packed)
        rows = array("I")
        rows.frombytes(packed)
        return rows

    async def _read_order(self, index: OpenIndex, query: CardQuery) -> Order:
        # First of all, so that nothing is read for a wrong name.
        places = [find_metric(index, condition.metric) for condition in query.conditions]
        sort_place, sort_type = find_sort(index, query.sort) if query.sort is not None else (None, METRIC_TYPE)
        return Order(
            query.flag,
            await self._read_all(index, index.header.find_column("flags")) if query.flag else (),
            [
                (condition, await self._read_all(index, place))
                for condition, place in zip(query.conditions, places, strict=True)
            ],
            await self._read_all(index, sort_place) if sort_place is not None else (),
            sort_type,
            query.descending,
        )

    async def _search(self, index: OpenIndex, query: CardQuery, start: CardPosition, limit: int) -> CardPage:
        wanted = None
        if query.flag is not None or query.conditions:
            marks = bytearray(index.header.rows)
            for row in await self._order(index, query._replace(sort=None)):
                marks[row] = 1
            wanted = bytes(marks)
        search = SampleSearch(query.text or "", row=start.place, limit=limit)
        position = Position(start.frame, start.at)
        search = await self._samples.search(index.samples, search, start=position, wanted=wanted)
        cards = await self._read_cards(index, [row for row in search.hits if row < index.header.rows])
        following = CardPosition(search.row, *search.next) if search.next is not None else None
        return CardPage(cards, None, min(search.row, index.header.rows), following)

    async def _read_cards(self, index: OpenIndex, rows: Sequence[int]) -> list[bytes]:
        by_zone: dict[int, list[int]] = {}
        for row in rows:
            by_zone.setdefault(row // ZONE_ROWS, []).append(row % ZONE_ROWS)
        ranges: list[CardRange] = []
        for number, places in by_zone.items():
            _, blocks = await self._read_columns(index, number, "flags", "blocks")
            zone = index.header.zones[number]
            found = await self._call(index.key, find_blocks, blocks, zone, places)
            ranges += join_blocks(number * ZONE_ROWS, zone.rows, found)
        wanted, names = frozenset(rows), CardNames(index.header)
        cards: dict[int, bytes] = {}
        for batch in group_ranges(ranges):
            read = await asyncio.gather(*(self._read_at_once(index, place.start, place.length) for place in batch))
            cards |= await self._call(index.key, render_cards, list(zip(batch, read, strict=True)), wanted, names)
        return [cards[row] for row in rows]

    async def _read_columns(self, index: OpenIndex, zone: int, first: str, second: str) -> tuple[bytes, bytes]:
        """Return two packed columns of a zone, which stand side by side, with one read."""
        known = f"{index.key}#{zone}.{first}"
        place, after = index.header.find_column(first), index.header.find_column(second)
        sizes = index.header.zones[zone].sizes
        content = self._kept.get(known)
        if content is None:
            start = index.header.zones[zone].start + sum(sizes[:place])
            content = await self._read(index, start, sum(sizes[place : after + 1]))
            self._kept.put(known, content)
        return content[: sizes[place]], content[len(content) - sizes[after] :]

    async def _read_all(self, index: OpenIndex, place: int) -> list[bytes]:
        """Return a packed column of all zones."""
        (column,) = await self.read_adjacent(index, place, 1)
        return column

    async def _read_at_once(self, index: OpenIndex, start: int, length: int) -> bytes:
        async with self._reads:
            return await self._read(index, start, length)

    async def _read(self, index: OpenIndex, start: int, length: int) -> bytes:
        return await self._ask(index.key, self._store.range(index.key, start=start, length=length))

    async def _ask(self, key: str, reading: Awaitable[T]) -> T:
        try:
            return await read_within(READ_SECONDS, reading)
        except StoreError as error:
            # Without a class of its own: there is nothing to read from that byte on.
            if type(error) is StoreError:
                raise UnusableArtifact(key, "the index of these samples is cut") from None
            raise

    async def _call(self, key: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._worker.call(function, *args, **kwargs)
        except (DamagedIndex, TooCostly) as error:
            raise UnusableArtifact(key, f"the index of these samples {error}") from None


def find_place(rows: Sequence[int], row: int, *, is_sorted: bool) -> int:
    """Return how many rows come before this one; without it, before where it would be, or 0 in an order of values."""
    if not is_sorted:
        return bisect_left(rows, row)
    # Bytes are searched a hundred times as fast as numbers.
    packed, wanted = array("I", rows).tobytes(), array("I", [row]).tobytes()
    at = packed.find(wanted)
    while at % len(wanted) and at >= 0:
        at = packed.find(wanted, at + 1)
    return max(at, 0) // len(wanted)


def find_metric(index: OpenIndex, name: str) -> int:
    """Return the place of a metric's column. Raises UnknownColumn."""
    place = index.header.find_metric(name)
    if place is None:
        raise UnknownColumn(name)
    return place


def find_sort(index: OpenIndex, name: str) -> tuple[int, str]:
    """Return the place of the column to sort by, and the type of its numbers. Raises UnknownColumn."""
    if name in SORT_COLUMNS:
        return index.header.find_column(name), str(COLUMNS[name])
    return find_metric(index, name), METRIC_TYPE
