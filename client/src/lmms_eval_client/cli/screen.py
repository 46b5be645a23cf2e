"""What commands print: tables and colours in a terminal; in a pipe plain text that stays the same."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lmms_eval_client.cli.text import clean

STYLES: Final = {"queued": "yellow", "running": "cyan", "completed": "green", "failed": "red", "cancelled": "bright_black"}
GAP: Final = "   "


def say(text: str) -> None:
    """One line of a result."""
    print(clean(text, lines=True))


def note(text: str) -> None:
    """One line for people, which no script reads."""
    print(clean(text, lines=True), file=sys.stderr)


def print_json(value: Any) -> None:
    """A result for programs; on one line in a pipe."""
    terminal = sys.stdout.isatty()
    say(json.dumps(value, indent=2 if terminal else None, ensure_ascii=not terminal))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings, as kubectl shows them."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        Console(highlight=False).print(coloured(columns, cells))
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in (columns, *cells):
        print(GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def coloured(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The same as a table of rich."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, len(GAP), 0, 0))
    for index, column in enumerate(columns):
        # The first column names a job; it is what one copies.
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table
