"""One page of samples, gathered line by line. Pure.

A page is complete in itself: it ends at its limit, when it has grown heavy, or when a filter has looked at a lot in vain, so that
a page may hold few samples or none and yet have a next one.
"""

import json
from typing import Final

from lmms_eval_api.artifacts.cursor import Position
from lmms_eval_api.artifacts.frames import Line
from lmms_eval_api.artifacts.judge import Verdict
from lmms_eval_api.artifacts.sanitise import sanitised

PAGE_BYTES: Final = 8 * 1024 * 1024
# Half a second of parsing.
SCAN_BYTES: Final = 64 * 1024 * 1024


class Page:
    """Takes lines until it is `full`. `samples` are JSON texts; the next page begins at `next`, None at the end of the file."""

    def __init__(self, limit: int, verdict: Verdict | None) -> None:
        self.samples: list[bytes] = []
        self.unjudged = 0
        self.next: Position | None = None
        self.full = False
        self._limit = limit
        self._verdict = verdict
        self._size = 0
        self._scanned = 0
        self._after: Position | None = None

    def add(self, line: Line) -> None:
        """Takes the line in, or stays as it is and knows that there is more."""
        if self._after is not None and self._enough():
            self.full, self.next = True, self._after
            return
        self._after = line.after
        self._scanned += line.length
        wanted = True if self._verdict is None else self._verdict(line.text)
        self.unjudged += wanted is None
        if wanted:
            self.samples.append(shown(line))
            self._size += len(self.samples[-1])

    def _enough(self) -> bool:
        heavy = self._size >= PAGE_BYTES or (self._verdict is not None and self._scanned >= SCAN_BYTES)
        return heavy or len(self.samples) == self._limit


def shown(line: Line) -> bytes:
    """The line as JSON. One that is none is shown as the text that it is, and of one too long what to do."""
    if line.length > len(line.text):
        sentence = f"This sample has {line.length} bytes; it is in the whole file: send Accept: application/x-ndjson."
        return json.dumps({"omitted": sentence}).encode()
    text = sanitised(line.text)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(line.text.decode(errors="replace")).encode()
    return text
