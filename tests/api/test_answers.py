"""Answers of runs, read from their journals: pages over attempts and ranks, whatever is stored in their place."""

import json
import random
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_segments import build_chunk, build_header, build_next, make_batch_id, name_segment, pack_segment
from memory_store import MemoryStore

from lmms_eval_api.artifacts import answers, batch_index, journal_block, segment_blocks
from lmms_eval_api.artifacts.answers import AnswerPage, AnswerReader, PageLimits, WantedAnswers
from lmms_eval_api.artifacts.batch_index import BatchIndex
from lmms_eval_api.artifacts.frames import InvalidSampleCursor
from lmms_eval_api.artifacts.journal_block import AnswerSelection, BlockStart, read_block
from lmms_eval_api.artifacts.journal_position import (
    MAX_CURSOR,
    JournalPosition,
    SegmentPosition,
    decode_answer_cursor,
    encode_answer_cursor,
    is_answer_cursor,
)
from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_core import layout
from lmms_eval_core.journal import MAX_LINE_BYTES, MAX_RANKS, MAX_SHOWN, JournalKind
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.errors import Unreachable

FIRST = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 1)
SECOND = FIRST._replace(attempt=2)
MIB = 1024 * 1024
SMALL = PageLimits(answers=3)


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def reader(store: MemoryStore, worker: Worker) -> AnswerReader:
    return make_reader(store, worker)


def make_reader(store: MemoryStore, worker: Worker) -> AnswerReader:
    samples = SampleReader(store, worker)
    return AnswerReader(store, worker, samples, MediaJournals(store, worker, samples))


def wanted(newest: ArtifactPrefix = FIRST, task: str | None = "mme", *, only_empty: bool = False) -> WantedAnswers:
    return WantedAnswers(newest, AnswerSelection(task, only_empty))


async def read_all(
    reader: AnswerReader, which: WantedAnswers, start: JournalPosition | None = None, limits: PageLimits = SMALL
) -> tuple[list[dict[str, Any]], JournalPosition]:
    """Read page by page, over cursors, to the end by now."""
    found: list[dict[str, Any]] = []
    position = start or which.beginning
    while True:
        page = await reader.read_page(which, start=position, limits=limits)
        found += map(json.loads, page.answers)
        assert len(page.answers) <= limits.answers
        assert page.position != position or not page.is_full
        position = decode_answer_cursor(encode_answer_cursor(page.position))
        if not page.is_full:
            return found, position


async def documents(reader: AnswerReader, which: WantedAnswers, limits: PageLimits = SMALL) -> list[Any]:
    return [answer["document"] for answer in (await read_all(reader, which, limits=limits))[0]]


async def test_an_answer_says_what_is_known_of_it(store: MemoryStore, reader: AnswerReader) -> None:
    more: dict[str, Any] = {"p": "What?", "g": "B", "c": [12, 3, None]}
    store.objects[name_segment(FIRST)] = pack_segment(
        [build_header(1), build_next(7), build_chunk([7], **more), build_chunk([8], s=None, j=["tuple", [-1.5, True]])]
    )
    (first, second), _ = await read_all(reader, wanted())
    assert first == {
        "task": "mme",
        "document": 7,
        "prompt": "What?",
        "answer": "answer 7",
        "target": "B",
        "tokens": {"input": 12, "output": 3, "reasoning": None},
        "time": "2026-11-27T12:00:07Z",
        "attempt": 1,
        "media": [],
        "media_more": 0,
        "truncated": False,
        "scored": False,
    }
    assert second["answer"] == ["tuple", [-1.5, True]]
    assert (second["prompt"], second["target"], second["tokens"]) == (None, None, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
@pytest.mark.parametrize("frame", [0, 100])
async def test_pages_together_are_all_answers(store: MemoryStore, reader: AnswerReader, limit: int, frame: int) -> None:
    lines = [build_header(1), build_chunk(range(5), batch=2), build_next(5), build_chunk(range(5, 11), batch=6)]
    store.objects[name_segment(FIRST)] = pack_segment(lines, frame=frame)
    store.objects[name_segment(FIRST, 1)] = pack_segment([build_chunk([11]), build_chunk(range(12, 20), batch=3)])
    assert await documents(reader, wanted(), PageLimits(limit)) == list(range(20))


async def test_a_page_ends_when_it_is_heavy_or_has_read_much(
    store: MemoryStore, reader: AnswerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [build_chunk([number], task="other") for number in range(20)]
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), *others, build_chunk(range(9), batch=9)])
    page = await reader.read_page(wanted(), start=wanted().beginning, limits=PageLimits(500, bytes=300))
    assert (len(page.answers), page.is_full) == (2, True)
    monkeypatch.setattr(answers, "SCAN_BYTES", 1000)
    page = await reader.read_page(wanted(), start=wanted().beginning, limits=PageLimits(500))
    assert page.is_full
    assert await documents(reader, wanted(), PageLimits(500)) == list(range(9))


async def test_one_call_returns_a_bounded_part_of_a_line(
    store: MemoryStore, reader: AnswerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_block, "MAX_ANSWERS", 4)
    block = build_chunk(range(10), batch=10)
    start, got = 0, []
    while True:
        reading = read_block(block, BlockStart(1, start), AnswerSelection("mme"))
        got += [json.loads(answer.text)["document"] for answer in reading.answers]
        if reading.end == len(block):
            break
        assert reading.end == 0 and reading.taken > start
        start = reading.taken
    assert got == list(range(10))


async def test_a_position_outlives_that_the_newest_segment_is_stored_again(
    store: MemoryStore, reader: AnswerReader
) -> None:
    lines = [build_header(1), build_chunk([0]), build_chunk([1])]
    store.objects[name_segment(FIRST)] = pack_segment(lines)
    found, position = await read_all(reader, wanted())
    assert len(found) == 2 and await read_all(reader, wanted(), position) == ([], position)
    lines += [build_next(2), build_chunk(range(2, 7), batch=5)]
    store.objects[name_segment(FIRST)] = pack_segment(lines, frame=64)
    page = await reader.read_page(wanted(), start=position, limits=SMALL)
    assert [json.loads(answer)["document"] for answer in page.answers] == [2, 3, 4]
    # In the middle of a line, and the segment is full meanwhile.
    lines.append(build_chunk([7]))
    store.objects[name_segment(FIRST)] = pack_segment(lines)
    store.objects[name_segment(FIRST, 1)] = pack_segment([build_chunk([8])])
    found, position = await read_all(reader, wanted(), page.position)
    assert [answer["document"] for answer in found] == [5, 6, 7, 8]
    # A late copy that is shorter: nothing is new.
    store.objects[name_segment(FIRST, 1)] = pack_segment([])
    assert (await read_all(reader, wanted(), position))[0] == []


async def test_only_what_is_new_is_read(store: MemoryStore, reader: AnswerReader) -> None:
    for number in range(5):
        lines = [build_header(1)] if not number else []
        store.objects[name_segment(FIRST, number)] = pack_segment([*lines, build_chunk([number])])
    _, position = await read_all(reader, wanted())
    store.lists.clear()
    store.reads.clear()
    await read_all(reader, wanted(), position)
    assert (store.lists, store.reads) == ([FIRST.file("journal/")], [name_segment(FIRST, 4)])


async def test_ranks_grow_side_by_side(store: MemoryStore, reader: AnswerReader) -> None:
    ranks: dict[int, list[bytes]] = {rank: [build_header(1, rank)] for rank in (0, 1)}
    seen: list[int] = []
    position = wanted().beginning
    for number in range(6):
        ranks[number % 2].append(build_chunk([number]))
        for rank, lines in ranks.items():
            store.objects[name_segment(FIRST, rank=rank)] = pack_segment(lines)
        found, position = await read_all(reader, wanted(), position)
        seen += [answer["document"] for answer in found]
    assert seen == list(range(6))
    assert sorted(await documents(reader, wanted())) == list(range(6))


async def test_earlier_attempts_are_shown_and_no_batch_twice(store: MemoryStore, reader: AnswerReader) -> None:
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk(range(4), batch=2)])
    found, position = await read_all(reader, wanted())
    assert len(found) == 4
    # It goes on after the first batch alone, as the second had come too late for it.
    store.objects[name_segment(SECOND)] = pack_segment([build_header(2), build_chunk(range(2, 8), batch=2)])
    expected = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 2)]
    found, end = await read_all(reader, wanted(SECOND))
    assert [(answer["document"], answer["attempt"]) for answer in found] == expected
    found, same = await read_all(reader, wanted(SECOND), position)
    assert [(answer["document"], answer["attempt"]) for answer in found] == expected[4:] and same == end
    # The same documents asked for in other batches are other requests.
    store.objects[name_segment(SECOND)] = pack_segment([build_header(2), build_chunk(range(2, 8), batch=3)])
    assert await documents(reader, wanted(SECOND)) == [0, 1, 2, 3, *range(2, 8)]


async def test_batches_of_earlier_attempts_are_read_once(store: MemoryStore, reader: AnswerReader) -> None:
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([0])])
    store.objects[name_segment(SECOND)] = pack_segment([build_header(2), build_chunk([1])])
    _, position = await read_all(reader, wanted(SECOND))
    store.reads.clear()
    await read_all(reader, wanted(SECOND), position)
    assert store.reads == [name_segment(SECOND)]


async def test_a_store_that_was_away_is_asked_again(store: MemoryStore, reader: AnswerReader) -> None:
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([0])])
    store.objects[name_segment(SECOND)] = pack_segment([build_header(2), build_chunk([0]), build_chunk([1])])
    store.is_away = True
    start = JournalPosition(2)
    with pytest.raises(Unreachable):
        await reader.read_page(wanted(SECOND), start=start, limits=SMALL)
    store.is_away = False
    assert [answer["document"] for answer in (await read_all(reader, wanted(SECOND), start))[0]] == [1]


async def test_what_is_kept_of_batches_is_bounded(
    store: MemoryStore, reader: AnswerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_INDEXES", 2)
    one = FIRST
    for number in range(5):
        one = FIRST._replace(name=f"job-{number}")
        store.objects[name_segment(one)] = pack_segment([build_header(1), build_chunk([0])])
        store.objects[name_segment(one._replace(attempt=2))] = pack_segment([build_header(2), build_chunk([1])])
        await read_all(reader, wanted(one._replace(attempt=2)))
        assert len(reader._indexes) <= 2
    monkeypatch.setattr(answers, "INDEX_BYTES", 0)
    await read_all(reader, wanted(one._replace(attempt=2)))
    assert not reader._indexes


def test_an_index_of_a_million_batches_is_small_and_exact() -> None:
    index, numbers = BatchIndex(), random.Random(1)
    ids = [numbers.randbytes(10) for _ in range(100_000)]
    index.add(b"".join(ids))
    assert all(batch in index for batch in ids[::97])
    assert not any(numbers.randbytes(10) in index for _ in range(1000))
    assert index.memory_bytes < 12 * len(ids)


def test_ids_that_overlap_two_of_an_index_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_index, "BUCKETS", 1)
    first, second = bytes([1, 2, 1, *range(7)]), bytes(range(1, 11))
    index = BatchIndex()
    index.add(first + second)
    assert (first + second)[2:12] not in index and first in index and second in index


def test_an_index_is_as_quick_for_ids_that_are_much_alike() -> None:
    ids = [number.to_bytes(10) for number in range(100_000)]
    index = BatchIndex()
    index.add(b"".join(ids))
    began = time.thread_time()
    assert all(batch in index for batch in ids[::10])
    # In one bucket it takes seconds.
    assert time.thread_time() - began < 0.5


def test_an_index_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_index, "MAX_BATCHES", 2)
    index = BatchIndex()
    index.add(bytes(range(30)))
    assert bytes(range(10, 20)) in index and bytes(range(20, 30)) not in index


async def test_no_more_earlier_attempts_are_read_than_an_attempt_reads(
    store: MemoryStore, reader: AnswerReader
) -> None:
    newest = FIRST._replace(attempt=30)
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([1])])
    store.objects[name_segment(newest)] = pack_segment([build_header(30), build_chunk([30])])
    assert await documents(reader, wanted(newest)) == [30]
    assert len(set(store.lists)) == 21


TASK_NAMES = ["mme", "a task/with spaces", "mmmu:val", "Ä", "..", "x" * 500, ""]


@pytest.mark.parametrize("task", TASK_NAMES)
async def test_a_task_is_called_as_its_samples_would_be(store: MemoryStore, reader: AnswerReader, task: str) -> None:
    lines = [build_header(1), build_chunk([1], task="another"), build_chunk([2], task=task)]
    store.objects[name_segment(FIRST)] = pack_segment(lines)
    assert await documents(reader, wanted(task=layout.segment(task))) == [2]
    assert await documents(reader, wanted(task=None)) == [1, 2]


async def test_empty_answers_alone(store: MemoryStore, reader: AnswerReader) -> None:
    lines = [build_header(1), build_chunk([1]), build_chunk([2], s=" \n"), build_chunk([3], s=None, j=[])]
    store.objects[name_segment(FIRST)] = pack_segment(lines)
    assert await documents(reader, wanted(only_empty=True)) == [2]


async def test_what_is_long_is_cut(store: MemoryStore, reader: AnswerReader) -> None:
    long, packed = "ä" * 100_000, ["x" * 100_000]
    lines = [
        build_header(1),
        build_chunk([1], s=long, p="p" * MAX_SHOWN, d="d" * 2000),
        build_chunk([2], s=None, j=packed),
    ]
    store.objects[name_segment(FIRST)] = pack_segment(lines)
    (first, second), _ = await read_all(reader, wanted())
    assert (first["answer"], first["truncated"]) == (long[: journal_block.MAX_ANSWER], True)
    assert (len(first["prompt"]), len(first["document"])) == (MAX_SHOWN, journal_block.MAX_DOCUMENT)
    assert (second["answer"], second["truncated"]) == (None, True)


GOOD = build_chunk([1])
BAD: dict[str, bytes] = {
    "empty": b"\n",
    "no JSON": b"{broken\n",
    "another shape": b'{"b":[]}\n',
    "a list": b"[1]\n",
    "deep": b'{"b":' + b"[" * 100_000 + b"\n",
    "values": b'{"b":[' + b"1," * 600_000 + b"1]}\n",
    "no text": b"\xff\xfe\n",
    "batch id": b'{"b":[{"id":"../../x","a":[{"t":"mme"}]}],"at":1.0,"s":1.0}\n',
    "prompt": build_chunk([5], p="x" * (MAX_SHOWN + 1)),
    "nan": GOOD.replace(b'"s":0.5', b'"s":NaN'),
    "too long": b'{"b":[' + b" " * MAX_LINE_BYTES + b"\n",
    "no end": GOOD.rstrip(b"\n"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_line_that_is_none_of_ours_ends_the_journal_of_its_rank(
    store: MemoryStore, reader: AnswerReader, bad: bytes
) -> None:
    after = [build_chunk([9])] if bad.endswith(b"\n") else []
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), GOOD, bad, *after])
    store.objects[name_segment(FIRST, rank=1)] = pack_segment([build_header(1, 1), build_chunk([2])])
    found, position = await read_all(reader, wanted())
    assert [answer["document"] for answer in found] == [1, 2]
    assert await read_all(reader, wanted(), position) == ([], position)
    # A later attempt does not know it either, and asks for it again.
    store.objects[name_segment(SECOND)] = pack_segment([build_header(2), build_chunk([9])])
    assert await documents(reader, wanted(SECOND)) == [1, 2, 9]


BOMB = zstandard.ZstdCompressor().compress(bytes(1024 * MIB))
NO_SEGMENTS: dict[str, bytes] = {
    "nothing": b"",
    "not zstd": b"not compressed",
    "cut": pack_segment([GOOD])[:-6],
    "bomb": BOMB,
}


@pytest.mark.parametrize("content", NO_SEGMENTS.values(), ids=NO_SEGMENTS)
async def test_an_object_that_is_no_segment_ends_the_journal_of_its_rank(
    store: MemoryStore, reader: AnswerReader, content: bytes
) -> None:
    assert len(content) < 100_000
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([1])])
    store.objects[name_segment(FIRST, 1)] = content
    store.objects[name_segment(FIRST, rank=1)] = pack_segment([build_header(1, 1), build_chunk([2])])
    assert await documents(reader, wanted()) == [1, 2]


class CountingReader(SampleReader):
    """Counts the bytes that it decompresses."""

    seen = 0

    async def stream_content(self, key: str) -> AsyncGenerator[bytes, None]:
        async for content in super().stream_content(key):
            self.seen += len(content)
            yield content


@pytest.mark.parametrize(
    ("content", "most"),
    [(BOMB, MAX_LINE_BYTES), (pack_segment([build_next(1) * (2 * MIB)]), segment_blocks.MAX_SEGMENT_BYTES)],
    ids=["no lines", "lines"],
)
async def test_of_a_segment_no_more_is_decompressed_than_it_may_hold(
    store: MemoryStore, worker: Worker, content: bytes, most: int
) -> None:
    store.objects[name_segment(FIRST)] = content
    counting = CountingReader(store, worker)
    async for block in segment_blocks.stream_blocks(counting, name_segment(FIRST), 0):
        assert len(block) < MIB
    assert most <= counting.seen < most + MIB


async def test_a_line_of_16_mib_is_read_page_by_page(store: MemoryStore, reader: AnswerReader) -> None:
    line = build_chunk(range(4000), batch=4, p="p" * 3900)
    assert 15 * MIB < len(line) <= MAX_LINE_BYTES
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), line])
    assert await documents(reader, wanted(), PageLimits(500)) == list(range(4000))


async def test_other_objects_are_no_journals(store: MemoryStore, reader: AnswerReader) -> None:
    segment = pack_segment([build_header(1), build_chunk([1])])
    others = [
        "journal/a000002-r0.jsonl-0000.zst",
        "journal/a000001-r0.jsonl.zst",
        "journal/x/a000001-r0.jsonl-0000.zst",
    ]
    for key in (name_segment(FIRST, kind=JournalKind.COMPLETIONS), name_segment(FIRST, 1), *map(FIRST.file, others)):
        store.objects[key] = segment
    assert await documents(reader, wanted()) == []


async def test_an_object_that_goes_away_under_the_reader_is_its_end(store: MemoryStore, reader: AnswerReader) -> None:
    class Vanishing(MemoryStore):
        def _read(self, key: str) -> bytes:
            self.objects.clear()
            return super()._read(key)

    gone = Vanishing()
    gone.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([1])])
    own = Worker()
    assert await documents(make_reader(gone, own), wanted()) == []


places = st.builds(SegmentPosition, st.integers(0, 999_999), st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
positions = st.builds(
    JournalPosition, st.integers(0, 10**6), st.dictionaries(st.integers(0, 9999), places, max_size=MAX_RANKS)
)


@given(positions)
def test_a_cursor_comes_back(position: JournalPosition) -> None:
    cursor = encode_answer_cursor(position)
    assert len(cursor) <= MAX_CURSOR
    assert decode_answer_cursor(cursor) == position and is_answer_cursor(cursor)


@given(st.text(max_size=40) | st.text("ABCDabcd0123456789-_=+/.", max_size=40))
def test_no_other_text_is_a_cursor(text: str) -> None:
    try:
        position = decode_answer_cursor(text)
    except InvalidSampleCursor:
        assert not is_answer_cursor(text)
        return
    assert encode_answer_cursor(position) == text


@given(positions.map(lambda position: position._replace(attempt=1)))
@settings(max_examples=20)
async def test_a_cursor_that_was_made_up_reads_nothing_else(worker: Worker, position: JournalPosition) -> None:
    store = MemoryStore()
    store.objects[name_segment(FIRST)] = pack_segment([build_header(1), build_chunk([1])])
    reader = make_reader(store, worker)
    page: AnswerPage = await reader.read_page(wanted(), start=position, limits=SMALL)
    assert len(page.answers) <= 1 and set(store.reads) <= {name_segment(FIRST)}


def test_the_same_objects_make_the_same_batch() -> None:
    assert make_batch_id("a", [1]) == make_batch_id("a", [1]) != make_batch_id("a", [2])
