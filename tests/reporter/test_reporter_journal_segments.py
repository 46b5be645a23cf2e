"""A line of a journal is stored as the same values, to the last digit, or not at all."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_files import make_chunk, make_header

from lmms_eval_core.journal import MAX_LINE_BYTES
from lmms_eval_core.store.compression import zstd
from lmms_eval_reporter.journal_segments import Room, convert_line, copy_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def make_line(packed: Any, **more: Any) -> bytes:
    answer = {"t": "mme", "d": "a", "j": packed}
    batch = {"id": "0" * 20, "a": [answer]}
    return json.dumps({"b": [batch], "at": 1e9 / 3, "s": 0.1} | more, separators=(",", ":")).encode() + b"\n"


@given(JSON, st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_what_is_stored_is_what_was_written(packed: Any, random_state: dict[str, Any]) -> None:
    line = make_line(packed, rng=random_state)
    stored = convert_line(line, shown=True)
    assert stored is not None and stored.answers == 1
    assert repr(json.loads(stored.content)) == repr(json.loads(line))
    again = convert_line(stored.content, shown=True)
    assert again == stored


@given(JSON)
def test_without_prompts_and_targets_the_rest_stays(packed: Any) -> None:
    answer = {"t": "mme", "j": packed}
    line = json.dumps({"b": [{"id": "0" * 20, "a": [answer | {"p": "prompt", "g": None}]}], "at": 1, "s": 1}).encode()
    stored = convert_line(line.replace(b'{"b": ', b'{"b":'), shown=False)
    assert stored is not None and json.loads(stored.content)["b"][0]["a"] == [answer]


@pytest.mark.parametrize(
    "line", [b"", b"x", make_line(1)[1:], make_line(1).replace(b'"mme"', b"7"), b'{"n":["x"]}', make_line(1) + b"x"]
)
def test_what_is_no_line_is_not_stored(line: bytes) -> None:
    assert convert_line(line, shown=True) is None


def test_a_line_that_is_too_long_as_it_is_stored_is_not_stored() -> None:
    numbers = b",".join([b"1e15"] * 400_000)
    line = make_line(0, m=[{"x": "x" * (MAX_LINE_BYTES * 3 // 4)}]).replace(b'"j":0', b'"j":[' + numbers + b"]")
    assert len(line) < MAX_LINE_BYTES and convert_line(line, shown=True) is None
    assert convert_line(line.replace(b"1e15", b"1.5"), shown=True) is not None


@given(st.lists(st.integers(0, 99), max_size=8), st.integers(0, 2000))
def test_a_segment_comes_back_as_far_as_there_is_room(numbers: list[int], room: int) -> None:
    lines = [make_header(), *map(make_chunk, numbers)]
    target = io.BytesIO()
    copied = copy_lines(zstd.compress(b"".join(lines)), target, Room(room))
    whole = b"".join(lines)
    assert whole.startswith(target.getvalue()) and copied.bytes == len(target.getvalue()) <= room
    assert (copied.problem == "") == (len(whole) <= room)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_of_the_store_raise(junk: bytes, at: int) -> None:
    packed = zstd.compress(make_header() + make_chunk(1))
    for content in (junk, packed[:at], packed[:at] + junk, packed + junk):
        target = io.BytesIO()
        copy_lines(content, target, Room(10_000))
        assert (make_header() + make_chunk(1)).startswith(target.getvalue()) or junk.startswith(b"\x28\xb5\x2f\xfd")
