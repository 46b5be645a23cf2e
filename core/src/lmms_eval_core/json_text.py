"""JSON that a run wrote, made valid and bounded, in time that grows with its length and with nothing else. Pure.

lmms-eval writes NaN and Infinity, which JSON does not have, and a model's answer may hold anything. The reporter does
this to what it uploads, so that no reader has to.
"""

import json
import re
from typing import Any, Final, NamedTuple

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
# Readers give up between 200 levels (pydantic) and 1,000 (Python's json); what lmms-eval writes has fewer than 20.
MAX_DEPTH: Final = 100
# Python refuses to read an integer of more than 4,300 digits, and no number of IEEE 754 has more than 309.
MAX_DIGITS: Final = 1000
# Of one document or line: so many values take about 120 MB when they are parsed.
MAX_VALUES: Final = 500_000

# One string of JSON, with its quotes; it ends with its line at the latest. Nothing here looks back: a pattern that does
# takes minutes for a megabyte of escapes. Strings are matched to be stepped over: a word in an answer is no number.
STRING: Final = rb'"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+(?:"|\\?(?=\n)|\\?\Z)'
_LONG_NUMBER: Final = rb"(?<![0-9.eE+\-])-?[0-9]{%d,}+(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+" % (MAX_DIGITS + 1)
_TOKENS: Final = re.compile(STRING + rb"|-?\b(?:NaN|Infinity)\b|" + _LONG_NUMBER)
_STRINGS: Final = re.compile(STRING)

_TOO_LONG: Final = f"longer than {MAX_LINE_BYTES} bytes"
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_ZERO: Final = b"0" * (MAX_DIGITS + 1)


class JsonShape(NamedTuple):
    """What a text costs to parse: about how many values it has, and how deep they are nested."""

    values: int
    depth: int


def normalised(text: bytes) -> bytes:
    """Return `text`, JSON or lines of JSON, with null for NaN, Infinity and numbers of more than `MAX_DIGITS` digits.

    All else stays as it was, to the byte.
    """
    if b"NaN" in text or b"Infinity" in text or _has_long_number(text):
        return _TOKENS.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", text)
    return text


def measure_shape(text: bytes) -> JsonShape:
    """Return the shape of `text`, whether it is JSON or not."""
    bare = _STRINGS.sub(b"", text)
    values = bare.count(b",") + bare.count(b"[") + bare.count(b"{") + 1
    return JsonShape(values, _measure_depth(bare))


def parse_excess(text: bytes) -> str:
    """Return why `text` is too much to be parsed, whether it is JSON or not, as the end of a sentence; empty if it is
    not.
    """
    brackets = _count_brackets(text)
    if brackets <= MAX_DEPTH and text.count(b",") + brackets < MAX_VALUES:
        return ""
    found = measure_shape(text)
    if found.values > MAX_VALUES:
        return f"has more than {MAX_VALUES} values"
    return f"is {_TOO_DEEP}" if found.depth > MAX_DEPTH else ""


def parse_number(digits: str) -> int | float:
    """Parse an integer of JSON, for `json.loads`; infinite where it has more than `MAX_DIGITS` digits."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def parse_json(text: bytes) -> Any:
    """Parse a JSON document, with None for what `normalised` replaces; ValueError also where it is nested too deep."""
    if _count_brackets(text) > MAX_DEPTH and measure_shape(text).depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(normalised(text))


def parse_line(line: bytes) -> Any:
    """Parse a line; None where it is no JSON, or is one that `LineNormaliser` leaves out."""
    if _find_excess(line):
        return None
    try:
        return json.loads(line, parse_int=parse_number)
    except ValueError:
        return None


class LineNormaliser:
    """`normalised` for lines that come in pieces. Holds one line at most.

    In the place of a line that is too long or too deep comes an object that says so: the others keep their numbers.
    `omitted` counts those.
    """

    def __init__(self) -> None:
        self.omitted = 0
        self._open = b""
        self._skipping = False

    def feed(self, content: bytes) -> bytes:
        """Return the lines that are whole by now, normalised."""
        *whole, rest = (self._open + content).split(b"\n")
        lines = [self._normalise(line) + b"\n" for line in whole]
        self._skipping = self._skipping or len(rest) > MAX_LINE_BYTES
        self._open = b"" if self._skipping else rest
        return b"".join(lines)

    def rest(self) -> bytes:
        """Return a last line without its end."""
        return self._normalise(self._open) if self._open or self._skipping else b""

    def _normalise(self, line: bytes) -> bytes:
        excess = _TOO_LONG if self._skipping else _find_excess(line)
        self._skipping = False
        if not excess:
            return normalised(line)
        self.omitted += 1
        return json.dumps({"omitted": f"this line is {excess}"}).encode()


def _find_excess(line: bytes) -> str:
    """Return what is too much about a line; empty where nothing is."""
    if len(line) > MAX_LINE_BYTES:
        return _TOO_LONG
    return _TOO_DEEP if _count_brackets(line) > MAX_DEPTH and measure_shape(line).depth > MAX_DEPTH else ""


def _count_brackets(text: bytes) -> int:
    """Return an upper bound of the levels of nesting, which is quick to count."""
    return text.count(b"[") + text.count(b"{")


def _measure_depth(bare: bytes) -> int:
    """Return the levels of nesting, counted no further than to one more than `MAX_DEPTH`."""
    depth = deepest = 0
    for bracket in bare.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > deepest:
            deepest = depth
            if deepest > MAX_DEPTH:
                break
    return deepest


def _has_long_number(text: bytes) -> bool:
    return len(text) > MAX_DIGITS and _LONG_ZERO in text.translate(_DIGITS_TO_ZERO)
