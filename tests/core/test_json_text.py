"""What a run wrote, made valid and bounded; the worst inputs take no longer than others."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_core import json_text
from lmms_eval_core.json_text import MAX_DEPTH, MAX_DIGITS, LineNormaliser, measure_shape, normalised, parse_line

MEGABYTE = 1024 * 1024
VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.floats() | st.integers(-(10**1200), 10**1200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def expected(value: object) -> object:
    """What a reader of JSON shall find in the place of what it cannot have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**MAX_DIGITS else None
    if isinstance(value, list):
        return [expected(part) for part in value]
    return {name: expected(part) for name, part in value.items()} if isinstance(value, dict) else value


def refuse(word: str) -> None:
    raise ValueError(word)


@settings(deadline=None)
@given(VALUES, st.booleans())
def test_every_value_of_python_becomes_json_and_stays_what_it_was(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    made = normalised(text).decode(errors="surrogatepass")
    assert json.loads(made, parse_constant=refuse) == expected(value)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('{"NaN": [NaN, -Infinity, Infinity]}', '{"NaN": [null, null, null]}'),
        (r'["a \" NaN", NaN]', r'["a \" NaN", null]'),
        ('"open NaN\n[NaN]', '"open NaN\n[null]'),
        (f"[{'9' * 5000},-{'9' * 5000}.5e3]", "[null,null]"),
        (f"[0.{'3' * 5000},1e-{'0' * 5000}]", f"[0.{'3' * 5000},1e-{'0' * 5000}]"),
        (f'["{"9" * 5000}"]', f'["{"9" * 5000}"]'),
    ],
)
def test_only_what_json_does_not_have_is_replaced(text: str, made: str) -> None:
    assert normalised(text.encode()).decode() == made


@pytest.mark.parametrize(
    "line",
    [
        b'NaN "' + b'\\"' * (4 * MEGABYTE),
        b'["' + b"x" * (8 * MEGABYTE) + b'NaN"]',
        b"[" * (8 * MEGABYTE),
        b"[]," * (2 * MEGABYTE),
        b"[NaN," + b",".join([b"9" * MAX_DIGITS] * 8000) + b"]",
        b"-NaN" * MEGABYTE,
        b'"NaN\\' * MEGABYTE,
    ],
    ids=["escapes", "string", "brackets", "flat", "digits", "words", "backslashes"],
)
def test_the_worst_lines_take_seconds_at_most(line: bytes) -> None:
    lines, begun = LineNormaliser(), time.process_time()
    lines.feed(line + b"\n")
    assert time.process_time() - begun < 10


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"{}", b'{"a": NaN}', b'"x', b"", b"[" * 200]), max_size=8),
    st.integers(1, 50),
    st.booleans(),
)
def test_pieces_make_no_difference(lines: list[bytes], size: int, ended: bool) -> None:
    text = b"\n".join(lines) + b"\n" * ended
    cut, whole = LineNormaliser(), LineNormaliser()
    assert (
        b"".join(cut.feed(text[n : n + size]) for n in range(0, len(text), size)) + cut.rest()
        == whole.feed(text) + whole.rest()
    )
    assert cut.omitted == whole.omitted == lines.count(b"[" * 200)


def test_a_line_that_nobody_could_read_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_LINE_BYTES", 100)
    lines = LineNormaliser()
    made = [lines.feed(piece) for piece in (b"1\n" + b"x" * 90, b"x" * 90, b"x\n2\n", b"[" * 99 + b"]" * 99)] + [
        lines.rest()
    ]
    first, long, second, last = b"".join(made).split(b"\n")
    assert (first, second) == (b"1", b"2")
    assert "longer than" in json.loads(long)["omitted"] and "longer than" in json.loads(last)["omitted"]
    assert lines.omitted == 2


def test_depth_and_values_are_counted_outside_of_strings() -> None:
    assert measure_shape(b'{"a": [1, 2, {"b": "[[[[,,,,"}]}') == (6, 3)
    assert measure_shape(b"[" * 5000).depth == MAX_DEPTH + 1


@pytest.mark.parametrize("line", [b"", b"{", b"[" * 100_000, b"[" * 101 + b"]" * 101, b"\xff", b"nul"])
def test_a_line_that_is_none_is_none(line: bytes) -> None:
    assert parse_line(line) is None


def test_a_line_is_read_with_numbers_of_any_length() -> None:
    assert parse_line(b'{"n": %s, "m": 7}' % (b"9" * 5000)) == {"n": math.inf, "m": 7}
