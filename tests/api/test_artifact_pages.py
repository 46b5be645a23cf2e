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

from lmms_eval_api.artifacts import frames, page
from lmms_eval_api.artifacts.cursor import InvalidCursor, Position, decoded, encoded
from lmms_eval_api.artifacts.frames import Damaged, Frames, Line, Lines, batches, behind, joined
from lmms_eval_api.artifacts.judge import Verdict
from lmms_eval_api.artifacts.page import Page, shown
from lmms_eval_api.artifacts.sanitise import LineSanitiser, sanitised


def packed(content: bytes, frame_bytes: int) -> bytes:
    compress = zstandard.ZstdCompressor().compress
    return b"".join(compress(content[at : at + frame_bytes]) for at in range(0, len(content), frame_bytes)) or compress(b"")


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


BEGINNING = Position()


def lines_of(file: bytes, start: Position = BEGINNING, size: int = 7) -> list[Line]:
    reader, lines = Frames(start.frame), Lines()
    pieces = behind(chain.from_iterable(map(reader.feed, cut(file[start.frame :], size))), start)
    return [*chain.from_iterable(map(lines.feed, pieces)), *lines.rest()]


def pages_of(file: bytes, limit: int, verdict: Verdict | None = None) -> list[Page]:
    pages, start = [], Position()
    while True:
        one = Page(limit, verdict)
        for line in lines_of(file, start):
            if not one.full:
                one.add(line)
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
    assert [line.text for line in found] == [line for line in text.split(b"\n") if line]
    for line, following in zip(found, found[1:], strict=False):
        assert lines_of(file, line.after, size)[0] == following
    assert b"".join(joined(chain.from_iterable(map(Frames().feed, [file])))) == text


@given(st.lists(st.integers(), max_size=40), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_the_pages_together_are_the_file(numbers: list[int], frame: int, limit: int, divisor: int) -> None:
    file = packed("".join(f"{number}\n" for number in numbers).encode(), frame)
    everything = pages_of(file, limit)
    assert [json.loads(sample) for one in everything for sample in one.samples] == numbers
    assert all(len(one.samples) == limit for one in everything[:-1]) and (everything[-1].samples or not numbers)
    some = pages_of(file, limit, lambda line: None if line == b"0" else int(line) % divisor == 0)
    assert [json.loads(sample) for one in some for sample in one.samples] == [n for n in numbers if n and n % divisor == 0]
    assert sum(one.unjudged for one in some) == numbers.count(0)


def test_a_page_ends_when_it_is_heavy_or_has_looked_at_much(monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(b'"abcdefgh"\n' * 10, 64)
    monkeypatch.setattr(page, "PAGE_BYTES", 25)
    assert [len(one.samples) for one in pages_of(file, 500)] == [3, 3, 3, 1]
    monkeypatch.setattr(page, "SCAN_BYTES", 40)
    assert [len(one.samples) for one in pages_of(file, 500, lambda line: False)] == [0, 0, 0]


def test_of_a_line_that_is_too_long_only_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LINE_BYTES", 10)
    first, second, third = lines_of(packed(b"1\n" + b"x" * 1000 + b"\n2", 100))
    assert (first.text, second.text, second.length, third.text) == (b"1", b"x" * 10, 1000, b"2")
    assert "1000 bytes" in json.loads(shown(second))["omitted"]


def test_a_bomb_does_not_fill_the_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(300 * 1024 * 1024))
    assert len(bomb) < 100_000
    assert max(len(piece.content) for piece in Frames().feed(bomb)) <= 40 * 1024 * 1024


def test_what_is_not_ours_is_damaged() -> None:
    file = packed(b"1\n2\n", 2)
    for wrong in (b"no frame at all", file[:5] + b"\xff" * 20, file[3:]):
        with pytest.raises(Damaged):
            list(Frames().feed(wrong))


@given(st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_cursor_comes_back(attempt: int, frame: int, at: int) -> None:
    assert decoded(encoded(attempt, Position(frame, at)), attempt=attempt) == Position(frame, at)
    with pytest.raises(InvalidCursor):
        decoded(encoded(attempt, Position(frame, at)), attempt=attempt + 1)


@given(st.text(max_size=40) | st.text("ABCDabcd0123456789-_=+/.", max_size=40))
def test_no_other_text_is_a_cursor(text: str) -> None:
    try:
        position = decoded(text, attempt=1)
    except InvalidCursor:
        return
    assert encoded(1, position) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (b'{"a": NaN, "b": [-Infinity,Infinity]}', b'{"a": null, "b": [null,null]}'),
        (b'{"NaN": "NaN or \\"Infinity\\", -Infinity"}', b'{"NaN": "NaN or \\"Infinity\\", -Infinity"}'),
        (b'{"a": "\\\\", "b": NaN}', b'{"a": "\\\\", "b": null}'),
        (b'{"a": 1e999, "b": 1.50}', b'{"a": 1e999, "b": 1.50}'),
        ('{"ä": "NaN\u2028", "b": NaN}'.encode(), '{"ä": "NaN\u2028", "b": null}'.encode()),
        (b'"an open string NaN', b'"an open string null'),
    ],
)
def test_numbers_that_are_none_become_null(text: bytes, clean: bytes) -> None:
    assert sanitised(text) == clean


def no_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: no_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [no_numbers(item) for item in value]
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["NaN", '"', "\\", "Infinity"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("NaN"), inner, max_size=4),
)


@given(anything, st.booleans())
def test_what_python_writes_becomes_json_and_nothing_else_changes(value: Any, ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    clean = sanitised(text).decode("utf-8", "surrogatepass")
    assert json.loads(clean, parse_constant=lambda name: pytest.fail(name)) == no_numbers(value)


@given(st.lists(st.sampled_from([b'{"a":NaN}\n', b'{"a":"NaN"}\n', b"\n", b'"x"', b"-Infinity"]), max_size=20), st.integers(1, 9))
def test_lines_in_pieces_are_made_json_too(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    sanitiser = LineSanitiser()
    found = b"".join(map(sanitiser.feed, cut(text, size))) + sanitiser.rest()
    assert found == b"".join(sanitised(line) for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        (b'{"a": 1.50, "b": NaN}', b'{"a": 1.50, "b": null}'),
        (b"{broken", b'"{broken"'),
        (b"\xff\xfe", b'"\\ufffd\\ufffd"'),
        (b"[" * 100_000, None),
    ],
)
def test_every_line_is_shown_as_json(line: bytes, sample: bytes | None) -> None:
    found = shown(Line(line, len(line), Position()))
    assert sample is None or found == sample
    json.loads(found)


def test_ten_thousand_samples_are_read_in_a_moment() -> None:
    sample = json.dumps({"doc_id": 1, "input": "What colour is the image? " * 190, "acc": 0.0})
    file = packed((sample + "\n").encode() * 10_000, 4 * 1024 * 1024)
    began = time.perf_counter()
    assert sum(len(batch) for batch in batches(lines_of(file, size=1024 * 1024))) == 10_000
    assert time.perf_counter() - began < 10
