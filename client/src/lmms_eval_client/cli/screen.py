"""What commands print: tables and colours in a terminal; in a pipe plain text that stays the same."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmms_eval_client.cli.text import clean

STYLES: Final = {
    "queued": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "bright_black",
    "better": "green",
    "worse": "red",
    "unclear": "bright_black",
}
GAP: Final = "   "
LEAST_IMPORTANT: Final = ("TASKS", "MODEL", "REASON", "MEMBERS", "METRICS", "SCORE")


def say(text: str) -> None:
    """Print one line of a result."""
    print(clean(text, lines=True))


def note(text: str) -> None:
    """Print one line for people on standard error, which no script reads."""
    print(clean(text, lines=True), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a result for programs; on one line in a pipe."""
    terminal = sys.stdout.isatty()
    say(json.dumps(value, indent=2 if terminal else None, ensure_ascii=not terminal))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings, as kubectl does."""
    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(build_table(columns, rows, width=console.width))
        return
    lines = [[clean(cell) for cell in line] for line in (columns, *rows)]
    for line in _align(lines):
        print(line)


def build_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> Table:
    """Return a table of rich; in a narrow terminal without the least important columns."""
    head, *lines = _drop_columns([[clean(cell) for cell in line] for line in (columns, *rows)], width)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, len(GAP), 0, 0))
    for column in head:
        table.add_column(column, no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in line))
    return table


def _drop_columns(lines: list[list[str]], width: int) -> list[list[str]]:
    for dropped in LEAST_IMPORTANT:
        if dropped in lines[0] and max(map(len, _align(lines))) > width:
            index = lines[0].index(dropped)
            lines = [[*line[:index], *line[index + 1 :]] for line in lines]
    return lines


def _align(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
