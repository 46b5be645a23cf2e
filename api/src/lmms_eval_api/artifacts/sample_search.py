"""Which lines of a file of samples have a text in them; runs in the worker process. Pure."""

import json
from collections.abc import Iterable
from typing import Any, Final

from lmms_eval_api.artifacts.frames import LineSplitter, Piece, Position, SampleLine
from lmms_eval_api.artifacts.sample_page import LINE_COST, SCAN_BYTES
from lmms_eval_core.json_text import parse_excess, parse_line
from lmms_eval_core.results_file import list_answer_texts

# What is searched of a sample.
SEARCHED: Final = ("input", "target", "filtered_resps", "resps")


class SampleSearch:
    """Takes lines from the row `row` on until it has enough: `hits` are the numbers of the rows with the text.

    The next search begins at row `row`, which is at `next`; that is None at the end of the file.
    """

    def __init__(self, text: str, *, row: int, limit: int) -> None:
        self.hits: list[int] = []
        self.row = row
        self.next: Position | None = None
        self._text = text.lower()
        # As JSON has it in its texts; upper and lower case of other letters than ASCII are found by parsing.
        self._needle = json.dumps(self._text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
        self._limit = limit
        self._scanned = 0
        self._after: Position | None = None

    def search(self, lines: Iterable[SampleLine], wanted: bytes | None) -> None:
        """Search lines; `wanted` says of each row from `row` on whether it counts at all, by a byte."""
        first = self.row
        for line in lines:
            if self._after is not None and (len(self.hits) >= self._limit or self._scanned >= SCAN_BYTES):
                self.next = self._after
                return
            self._after = line.after
            self._scanned += line.length + LINE_COST
            if not line.length:
                continue
            if (wanted is None or wanted[self.row - first : self.row - first + 1] == b"\1") and self._is_hit(line.text):
                self.hits.append(self.row)
            self.row += 1

    def _is_hit(self, line: bytes) -> bool:
        if line.isascii() and b"\\u" not in line and self._needle not in line.lower():
            return False
        sample = None if parse_excess(line) else parse_line(line)
        return isinstance(sample, dict) and any(self._text in text.lower() for text in _list_texts(sample))


def _list_texts(sample: dict[str, Any]) -> Iterable[str]:
    return list_answer_texts([sample.get(name) for name in SEARCHED])


def search_group(
    search: SampleSearch, lines: LineSplitter, group: list[Piece] | None, wanted: bytes | None
) -> tuple[SampleSearch, LineSplitter]:
    """Return both after the lines that end in the group; without a group, after the last line, which has no end."""
    search.search(lines.feed(group) if group is not None else lines.finish(), wanted)
    return search, lines
