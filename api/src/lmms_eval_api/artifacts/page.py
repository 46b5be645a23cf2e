"""One page of samples, gathered line by line. Pure.

A page is complete in itself: it ends at its limit, when it has grown heavy, or when a filter has looked at a lot in vain, so that
a page may hold few samples or none and yet have a next one.
"""

import json
from collections.abc import Iterable
from typing import Final

from lmms_eval_api.artifacts.cursor import Position
from lmms_eval_api.artifacts.frames import Line
from lmms_eval_api.artifacts.judge import Verdict
from lmms_eval_core.json_text import normalised, parse_excess, parse_number

PAGE_BYTES: Final = 8 * 1024 * 1024
# Half a second of parsing; a line costs something however short it is.
SCAN_BYTES: Final = 64 * 1024 * 1024
LINE_COST: Final = 256
# What is no JSON is shown as text; each byte of it may become six.
TEXT_BYTES: Final = 256 * 1024


class Page:
    """Takes lines until it is `full`. `samples` are JSON texts; the next page begins at `next`, None at the end of the file."""

    def __init__(self, limit: int) -> None:
        self.samples: list[bytes] = []
        self.unjudged = 0
        self.next: Position | None = None
        self.full = False
        self._room = limit
        self._size = 0
        self._scanned = 0
        self._after: Position | None = None

    def fill(self, lines: Iterable[Line], verdict: Verdict | None) -> None:
        """Takes lines in; at the first one for which it has no room it knows that there is more."""
        for line in lines:
            if self._after is not None and self._enough():
                self.full, self.next = True, self._after
                return
            self._add(line, verdict)

    def taken(self) -> list[bytes]:
        """The samples that came since the last call."""
        samples, self.samples = self.samples, []
        return samples

    def _add(self, line: Line, verdict: Verdict | None) -> None:
        self._after = line.after
        self._scanned += line.length + LINE_COST
        if not line.length:
            return
        wanted = True if verdict is None else verdict(line.text)
        self.unjudged += wanted is None
        if wanted:
            self.samples.append(shown(line))
            self._size += len(self.samples[-1])
            self._room -= 1

    def _enough(self) -> bool:
        return self._size >= PAGE_BYTES or self._scanned >= SCAN_BYTES or not self._room


def shown(line: Line) -> bytes:
    """The line as JSON. One that is none is shown as the text that it is, and of one too costly what to do."""
    excess = f"has {line.length} bytes" if line.length > len(line.text) else parse_excess(line.text)
    if excess:
        return _omitted(excess)
    text = normalised(line.text)
    try:
        # Of bytes, Python would guess the encoding.
        json.loads(text.decode(), parse_int=parse_number)
    except ValueError:
        return _as_text(line.text)
    return text


def _as_text(line: bytes) -> bytes:
    if len(line) > TEXT_BYTES:
        return _omitted(f"has {len(line)} bytes and is no JSON")
    return json.dumps(line.decode(errors="replace")).encode()


def _omitted(why: str) -> bytes:
    sentence = f"This sample {why}; it is in the whole file: send Accept: application/x-ndjson."
    return json.dumps({"omitted": sentence}).encode()
