"""A table in Markdown as pytablewriter lays it out, with which lmms-eval prints.

Pure; `table` says what stands in it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final, NamedTuple

NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
LEAST_WIDTH: Final = 3


class CellKind(Enum):
    """What a cell is taken for."""

    WORD = auto()
    INTEGER = auto()
    REAL = auto()
    BOOL = auto()
    BLANK = auto()
    LIST = auto()
    DICT = auto()


WORDS: Final = frozenset({CellKind.WORD, CellKind.BOOL})
NUMBERS: Final = frozenset({CellKind.INTEGER, CellKind.REAL})
OF_TYPES: Final[dict[type, CellKind]] = {bool: CellKind.BOOL, list: CellKind.LIST, dict: CellKind.DICT}


class Cell(NamedTuple):
    """A value on one line, and what it is taken for."""

    text: str
    kind: CellKind


def format_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return lines under a heading, each with its newline."""
    columns = [_format_column(heading, [row[index] for row in rows]) for index, heading in enumerate(headings)]
    return "".join(f"|{'|'.join(line)}|\n" for line in zip(*columns, strict=True))


def to_text(value: Any) -> str:
    """Return what `str` does, also for an integer of more digits than `str` takes."""
    return str(Decimal(value)) if type(value) is int else str(value)


def _format_column(heading: str, values: Sequence[Any]) -> list[str]:
    """Align numbers to the right, with as many decimals as the most exact one needs; beside words, integers stay
    integers.
    """
    cells = list(_make_cells(values))
    words = any(cell.kind in WORDS for cell in cells)
    right = not words and any(cell.kind in NUMBERS for cell in cells)
    places = max((len(_find_decimals(cell.text)) for cell in cells if cell.kind is CellKind.REAL), default=0)
    shown = [_format_cell(cell, 0 if words and cell.kind is CellKind.INTEGER else places) for cell in cells]
    width = max(LEAST_WIDTH, *map(_measure_width, (heading, *shown)))
    rule = "-" * (width - 1) + ":" if right else "-" * width
    aligns = [">" if right or cell.kind in NUMBERS else "<" for cell in cells]
    body = [_pad(text, align, width) for text, align in zip(shown, aligns, strict=True)]
    return [_pad(heading, "^", width), rule, *body]


def _make_cells(values: Sequence[Any]) -> Iterator[Cell]:
    above: Counter[CellKind] = Counter()
    for value in values:
        kind = _find_kind(value, above)
        above[kind] += 1
        yield Cell(re.sub(r"\r?\n", " ", to_text(value)), kind)


def _find_kind(value: Any, above: Counter[CellKind]) -> CellKind:
    if type(value) in OF_TYPES:
        return OF_TYPES[type(value)]
    text = to_text(value)
    if not text.strip():
        return CellKind.BLANK
    # Below words, what looks like a number is taken for one more word.
    below_words = above and above.most_common(1)[0][0] is CellKind.WORD
    if not NUMBER.fullmatch(text) or (below_words and isinstance(value, str)):
        return CellKind.WORD
    return CellKind.REAL if _find_decimals(text) else CellKind.INTEGER


def _find_decimals(text: str) -> str:
    return text.partition(".")[2].rstrip("0")


def _format_cell(cell: Cell, places: int) -> str:
    if cell.kind not in NUMBERS:
        return cell.text
    # As an integer, nought has no sign; `int` takes 4,300 digits at most.
    number = Decimal(cell.text) if cell.kind is CellKind.REAL else Decimal(cell.text.partition(".")[0]) or Decimal()
    return f"{number:.{places}f}"


def _pad(text: str, align: str, width: int) -> str:
    # A bar is escaped last, outside of the width.
    return f"{text:{align}{width - _measure_width(text) + len(text)}}".replace("|", r"\|")


def _measure_width(text: str) -> int:
    """Return the width in columns of a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
