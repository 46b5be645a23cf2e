"""Samples page by page: however a file is cut into frames and pieces, the pages together are the file. Pure."""

import json
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.artifacts import frames, sample_page
from lmms_eval_api.artifacts.frames import (
    Damaged,
    FrameReader,
    InvalidSampleCursor,
    LineSplitter,
    Position,
    SampleLine,
    decode_sample_cursor,
    encode_sample_cursor,
    group_pieces,
    join_pieces,
    skip_to,
)
from lmms_eval_api.artifacts.normaliser import StreamNormaliser
from lmms_eval_api.artifacts.sample_filter import SamplePredicate
from lmms_eval_api.artifacts.sample_page import SamplePageBuilder, render_line
from lmms_eval_core.json_text import MAX_DEPTH, MAX_VALUES, normalised


def packed(content: bytes, frame_bytes: int) -> bytes:
    compress = zstandard.ZstdCompressor().compress
    return b"".join(compress(content[at : at + frame_bytes]) for at in range(0, len(content), frame_bytes)) or compress(
        b""
    )


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


BEGINNING = Position()


def lines_of(file: bytes, start: Position = BEGINNING, size: int = 7) -> list[SampleLine]:
    reader, lines = FrameReader(start.frame), LineSplitter()
    pieces = skip_to(chain.from_iterable(map(reader.feed, cut(file[start.frame :], size))), start)
    return [*lines.feed(pieces), *lines.finish()]


def pages_of(file: bytes, limit: int, predicate: SamplePredicate | None = None) -> list[SamplePageBuilder]:
    pages, start = [], Position()
    while True:
        one = SamplePageBuilder(limit)
        one.fill(lines_of(file, start), predicate)
        pages.append(one)
        if one.next is None:
            return pages
        assert one.next > start
        start = one.next


texts = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20), max_size=30)


@given(texts, st.integers(1, 50), st.integers(1, 40), st.booleans())
def test_lines_are_the_same_however_the_file_is_cut(content: list[str], frame: int, size: int, ended: bool) -> None:
    text = "\n".join(content).encode() + (b"\n" if ended else b"")
    file = packed(text, frame)
    found = lines_of(file, size=size)
    assert [line.text for line in found] == text.removesuffix(b"\n").split(b"\n") if text else found == []
    for line, following in zip(found, found[1:], strict=False):
        assert lines_of(file, line.after, size)[0] == following
    assert b"".join(map(join_pieces, group_pieces(FrameReader().feed(file)))) == text


@given(st.lists(st.integers(), max_size=40), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_the_pages_together_are_the_file(numbers: list[int], frame: int, limit: int, divisor: int) -> None:
    file = packed("".join(f"{number}\n" for number in numbers).encode(), frame)
    everything = pages_of(file, limit)
    assert [json.loads(sample) for one in everything for sample in one.samples] == numbers
    assert all(len(one.samples) == limit for one in everything[:-1]) and (everything[-1].samples or not numbers)
    some = pages_of(file, limit, lambda line: None if line == b"0" else int(line) % divisor == 0)
    assert [json.loads(sample) for one in some for sample in one.samples] == [
        n for n in numbers if n and n % divisor == 0
    ]
    assert sum(one.unjudged for one in some) == numbers.count(0)


def test_a_page_ends_when_it_is_heavy_or_has_looked_at_much(monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(b'"abcdefgh"\n' * 10, 64)
    monkeypatch.setattr(sample_page, "PAGE_BYTES", 25)
    assert [len(one.samples) for one in pages_of(file, 500)] == [3, 3, 3, 1]
    monkeypatch.setattr(sample_page, "SCAN_BYTES", 4 * (10 + sample_page.LINE_COST))
    assert [len(one.samples) for one in pages_of(file, 500, lambda line: False)] == [0, 0, 0]


def test_lines_that_are_empty_end_a_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_page, "SCAN_BYTES", 40 * sample_page.LINE_COST)
    found = pages_of(packed(b"1\n" + b"\n" * 100 + b"2\n", 64), 500)
    assert [one.samples for one in found] == [[b"1"], [], [b"2"]]


def test_of_a_line_that_is_too_long_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LINE_BYTES", 10)
    first, second, third = lines_of(packed(b"1\n" + b"x" * 1000 + b"\n2", 100))
    assert (first.text, second.text, second.length, third.text) == (b"1", b"", 1000, b"2")
    assert "1000 bytes" in json.loads(render_line(second))["omitted"]


def test_a_bomb_does_not_fill_the_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(300 * 1024 * 1024))
    assert len(bomb) < 100_000
    assert max(len(piece.content) for piece in FrameReader().feed(bomb)) <= 5 * 1024 * 1024


def test_a_frame_that_needs_much_memory_is_not_ours() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    with pytest.raises(Damaged):
        list(FrameReader().feed(zstandard.ZstdCompressor(compression_params=wide).compress(bytes(200 * 1024 * 1024))))


def test_what_is_not_ours_is_damaged() -> None:
    file = packed(b"1\n2\n", 2)
    for wrong in (b"no frame at all", file[:5] + b"\xff" * 20, file[3:]):
        with pytest.raises(Damaged):
            list(FrameReader().feed(wrong))


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_cursor_comes_back(attempt: int, frame: int, at: int) -> None:
    position = Position(frame, at)
    assert decode_sample_cursor(encode_sample_cursor(attempt, position), attempt=attempt) == position
    with pytest.raises(InvalidSampleCursor):
        decode_sample_cursor(encode_sample_cursor(attempt, Position(frame, at)), attempt=attempt + 1)


@given(st.text(max_size=40) | st.text("ABCDabcd0123456789-_=+/.", max_size=40))
def test_no_other_text_is_a_cursor(text: str) -> None:
    try:
        position = decode_sample_cursor(text, attempt=1)
    except InvalidSampleCursor:
        return
    assert encode_sample_cursor(1, position) == text


def streamed(text: bytes, size: int) -> bytes:
    normaliser = StreamNormaliser()
    return b"".join(map(normaliser.feed, cut(text, size))) + normaliser.finish()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b'{"a": NaN, "b": [-Infinity,Infinity]}', b'{"a": null, "b": [null,null]}'),
        (b'{"NaN": "NaN or \\"Infinity\\", -Infinity"}', b'{"NaN": "NaN or \\"Infinity\\", -Infinity"}'),
        (b'{"a": "\\\\", "b": NaN}', b'{"a": "\\\\", "b": null}'),
        (b'{"a": 1e999, "b": 1.50}', b'{"a": 1e999, "b": 1.50}'),
        ('{"ä": "NaN\u2028", "b": NaN}'.encode(), '{"ä": "NaN\u2028", "b": null}'.encode()),
        (b'"an open string NaN', b'"an open string NaN'),
    ],
)
def test_numbers_that_are_none_become_null(text: bytes, clean: bytes) -> None:
    assert streamed(text, 3) == clean


def no_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: no_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [no_numbers(item) for item in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["NaN", '"', "\\", "Infinity"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("NaN"), inner, max_size=4)
    ),
)


@given(anything, st.booleans())
def test_what_python_writes_becomes_json_and_nothing_else_changes(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    clean = streamed(text, 7).decode("utf-8", "surrogatepass")
    assert json.loads(clean, parse_constant=lambda name: pytest.fail(name)) == no_numbers(value)


PARTS = [b'"', b"\\", b"\n", b"NaN", b"-", b"Infinity", b"1" * 1200, b"7", b"a", b" ", b",", b'\\"', "ä".encode()]


@given(st.lists(st.sampled_from(PARTS), max_size=12).filter(lambda parts: parts.count(PARTS[6]) < 3), st.integers(1, 9))
def test_content_in_pieces_is_normalised_as_it_is_whole(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    assert streamed(text, size) == normalised(text)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b'{"a": %s, "b": NaN}' % (b"9" * 20_000), b'{"a": null, "b": null}'),
        (b"-" + b"9" * 20_000, b"null"),
        (b"x" * 20_000 + b",NaN", b"x" * 20_000 + b",null"),
    ],
)
def test_nothing_is_held_back_for_long(text: bytes, clean: bytes) -> None:
    assert streamed(text, 1000) == clean


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        (b'{"a": 1.50, "b": NaN}', b'{"a": 1.50, "b": null}'),
        (b"{broken", b'"{broken"'),
        (b"\xff\xfe", b'"\\ufffd\\ufffd"'),
    ],
)
def test_every_line_is_shown_as_json(line: bytes, sample: bytes) -> None:
    assert render_line(SampleLine(line, len(line), Position())) == sample


@given(
    st.binary(max_size=30)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.text(max_size=20).map(str.encode)
)
def test_whatever_is_shown_is_json(line: bytes) -> None:
    text = render_line(SampleLine(line, len(line), Position())).decode()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"[" * 100_000, f"is nested deeper than {MAX_DEPTH} levels"),
        (b"[" + b"1," * MAX_VALUES + b"1]", f"has more than {MAX_VALUES} values"),
        (b"\0" * 1_000_000, "has 1000000 bytes and is no JSON"),
    ],
)
def test_a_line_that_takes_too_much_says_so(line: bytes, why: str) -> None:
    assert why in json.loads(render_line(SampleLine(line, len(line), Position())))["omitted"]


def test_ten_thousand_samples_are_read_in_a_moment() -> None:
    sample = json.dumps({"doc_id": 1, "input": "What colour is the image? " * 190, "acc": 0.0})
    file = packed((sample + "\n").encode() * 10_000, 4 * 1024 * 1024)
    began = time.process_time()
    assert len(lines_of(file, size=1024 * 1024)) == 10_000
    assert time.process_time() - began < 10
