"""Builds one page of samples, line by line. Pure.

A page ends at its limit, at a size, or when a filter has scanned a lot in vain: a page may hold few samples or none,
and yet have a next one.
"""

import json
from collections.abc import Iterable
from typing import Final

from lmms_eval_api.artifacts.frames import Position, SampleLine
from lmms_eval_api.artifacts.sample_filter import SamplePredicate
from lmms_eval_core.json_text import normalised, parse_excess, parse_number

PAGE_BYTES: Final = 8 * 1024 * 1024
# Half a second of parsing. A line has a cost, however short it is.
SCAN_BYTES: Final = 64 * 1024 * 1024
LINE_COST: Final = 256
# A line that is no JSON is shown as text, in which each byte may become six.
TEXT_BYTES: Final = 256 * 1024


class SamplePageBuilder:
    """Takes lines until it `is_full`.

    `samples` are JSON texts; the next page begins at `next`, which is None at the end of the file.
    """

    def __init__(self, limit: int) -> None:
        self.samples: list[bytes] = []
        self.unjudged = 0
        self.next: Position | None = None
        self.is_full = False
        self._room = limit
        self._size = 0
        self._scanned = 0
        self._after: Position | None = None

    def fill(self, lines: Iterable[SampleLine], predicate: SamplePredicate | None) -> None:
        """Add lines; at the first line that does not fit, set `next` and `is_full`."""
        for line in lines:
            if self._after is not None and self._has_enough():
                self.is_full, self.next = True, self._after
                return
            self._add(line, predicate)

    def take_samples(self) -> list[bytes]:
        """Return the samples that were added since the last call."""
        samples, self.samples = self.samples, []
        return samples

    def _add(self, line: SampleLine, predicate: SamplePredicate | None) -> None:
        self._after = line.after
        self._scanned += line.length + LINE_COST
        if not line.length:
            return
        wanted = True if predicate is None else predicate(line.text)
        self.unjudged += wanted is None
        if wanted:
            self.samples.append(render_line(line))
            self._size += len(self.samples[-1])
            self._room -= 1

    def _has_enough(self) -> bool:
        return self._size >= PAGE_BYTES or self._scanned >= SCAN_BYTES or not self._room


def render_line(line: SampleLine) -> bytes:
    """Return the line as JSON: as a string if it is no JSON, and as a note where to find it if it is too large."""
    excess = f"has {line.length} bytes" if line.length > len(line.text) else parse_excess(line.text)
    if excess:
        return _render_omission(excess)
    text = normalised(line.text)
    try:
        # For bytes, Python would guess the encoding.
        json.loads(text.decode(), parse_int=parse_number)
    except ValueError:
        return _render_as_text(line.text)
    return text


def _render_as_text(line: bytes) -> bytes:
    if len(line) > TEXT_BYTES:
        return _render_omission(f"has {len(line)} bytes and is no JSON")
    return json.dumps(line.decode(errors="replace")).encode()


def _render_omission(why: str) -> bytes:
    sentence = f"This sample {why}; it is in the whole file: send Accept: application/x-ndjson."
    return json.dumps({"omitted": sentence}).encode()
