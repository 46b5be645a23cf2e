"""One measured number beside what it should be: a row of the table and of build/bench.json."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """`holds` is None where there is no target; `floor` says what the number is to be read against."""

    name: str
    value: float
    unit: str
    target: float | None = None
    floor: str = ""
    more: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the value is within the target; smaller is better, or where it says so, more."""
        if self.target is None:
            return None
        return self.value >= self.target if self.more else self.value <= self.target


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all are not above."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def report(rows: list[Row], path: Path) -> int:
    """The table for a person, the list for a program; the exit status, which is 0 when every target holds."""
    show(rows)
    write(rows, path)
    return 1 if any(row.holds is False for row in rows) else 0


def write(rows: list[Row], path: Path) -> None:
    """The list that later rows are added to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**row._asdict(), "holds": row.holds} for row in rows], indent=2) + "\n")


def show(rows: list[Row]) -> None:
    """The table for a person."""
    print(f"\n{'':58} {'value':>10} {'':8} {'target':>10}  holds")
    for row in rows:
        target = "" if row.target is None else f"{row.target:.2f}"
        holds = {None: "", True: "yes", False: "NO"}[row.holds]
        print(f"{row.name:58} {row.value:10.2f} {row.unit:8} {target:>10}  {holds:5} {row.floor}")
