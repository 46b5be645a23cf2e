"""A table in Markdown as pytablewriter lays it out, with which lmms-eval prints. Pure; `table` says what stands in it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final, NamedTuple

NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
LEAST_WIDTH: Final = 3


class Kind(Enum):
    """What a cell is taken for."""

    WORD = auto()
    INTEGER = auto()
    REAL = auto()
    BOOL = auto()
    BLANK = auto()
    LIST = auto()
    DICT = auto()


WORDS: Final = frozenset({Kind.WORD, Kind.BOOL})
NUMBERS: Final = frozenset({Kind.INTEGER, Kind.REAL})
OF_TYPES: Final[dict[type, Kind]] = {bool: Kind.BOOL, list: Kind.LIST, dict: Kind.DICT}


class Cell(NamedTuple):
    """A value on one line, and what it is taken for."""

    text: str
    kind: Kind


def markdown(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lines under a heading, each with its newline."""
    columns = [_column(heading, [row[index] for row in rows]) for index, heading in enumerate(headings)]
    return "".join(f"|{'|'.join(line)}|\n" for line in zip(*columns, strict=True))


def text_of(value: Any) -> str:
    """As `str` has it, also of an integer of more digits than `str` takes."""
    return str(Decimal(value)) if type(value) is int else str(value)


def _column(heading: str, values: Sequence[Any]) -> list[str]:
    """Numbers to the right, with as many decimals as the most exact of them needs; beside words, whole numbers stay whole."""
    cells = list(_cells(values))
    words = any(cell.kind in WORDS for cell in cells)
    right = not words and any(cell.kind in NUMBERS for cell in cells)
    places = max((len(_decimals(cell.text)) for cell in cells if cell.kind is Kind.REAL), default=0)
    shown = [_shown(cell, 0 if words and cell.kind is Kind.INTEGER else places) for cell in cells]
    width = max(LEAST_WIDTH, *map(_width, (heading, *shown)))
    rule = "-" * (width - 1) + ":" if right else "-" * width
    aligns = [">" if right or cell.kind in NUMBERS else "<" for cell in cells]
    body = [_padded(text, align, width) for text, align in zip(shown, aligns, strict=True)]
    return [_padded(heading, "^", width), rule, *body]


def _cells(values: Sequence[Any]) -> Iterator[Cell]:
    above: Counter[Kind] = Counter()
    for value in values:
        kind = _kind(value, above)
        above[kind] += 1
        yield Cell(re.sub(r"\r?\n", " ", text_of(value)), kind)


def _kind(value: Any, above: Counter[Kind]) -> Kind:
    if type(value) in OF_TYPES:
        return OF_TYPES[type(value)]
    text = text_of(value)
    if not text.strip():
        return Kind.BLANK
    # Below words, what looks like a number is taken for one more word.
    below_words = above and above.most_common(1)[0][0] is Kind.WORD
    if not NUMBER.fullmatch(text) or (below_words and isinstance(value, str)):
        return Kind.WORD
    return Kind.REAL if _decimals(text) else Kind.INTEGER


def _decimals(text: str) -> str:
    return text.partition(".")[2].rstrip("0")


def _shown(cell: Cell, places: int) -> str:
    if cell.kind not in NUMBERS:
        return cell.text
    # As an integer, nought has no sign; `int` takes 4,300 digits at most.
    number = Decimal(cell.text) if cell.kind is Kind.REAL else Decimal(cell.text.partition(".")[0]) or Decimal()
    return f"{number:.{places}f}"


def _padded(text: str, align: str, width: int) -> str:
    # A bar is escaped last, outside of the width.
    return f"{text:{align}{width - _width(text) + len(text)}}".replace("|", r"\|")


def _width(text: str) -> int:
    """In the columns of a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
