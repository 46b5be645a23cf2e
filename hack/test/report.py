"""What the tiers came to, as a table and one closing line."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """One tier: counts of its tests, or what it was missing."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    exit_code: int = 0
    missing: str = ""

    def good(self, *, allow_missing: bool) -> bool:
        """Whether everything that should have run did, and passed."""
        if self.missing:
            return allow_missing
        return self.exit_code == 0 and self.failed == 0 and self.passed > 0 and (allow_missing or self.skipped == 0)

    def row(self) -> str:
        """One line of the table."""
        if self.missing:
            return f"{self.name:12} did not run: {self.missing}"
        return f"{self.name:12} {self.passed:7} {self.failed:7} {self.skipped:8} {self.seconds:8.0f} s"


def write_summary(outcomes: list[Outcome], path: Path) -> None:
    """The same for a program: the benchmark reads the times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")


def print_summary(outcomes: list[Outcome]) -> None:
    """The table, and the line that a machine reads."""
    print(f"\n{'tier':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'time':>10}")
    for outcome in outcomes:
        print(outcome.row())
    if any(outcome.missing for outcome in outcomes):
        print("Set LMMS_EVAL_TEST_ALLOW_MISSING=1 to accept tiers that cannot run on this machine.")
    passed, failed, skipped = (sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "failed", "skipped"))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
