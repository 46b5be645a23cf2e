"""What the tiers came to: counts, times and failures from their JUnit reports; the table and the closing line."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .preparation import PytestRun

SLOWEST = 10
LAST_LINES = 60
# pytest's exit codes: some tests failed; no test was selected.
TESTS_FAILED, NOTHING_SELECTED = 1, 5


class ReportedTest(NamedTuple):
    """One test of a report. `namespace` is where it played on a cluster, if it did; `flaky`: it passed, but not at its
    first try.
    """

    name: str
    seconds: float
    result: str
    namespace: str = ""
    flaky: bool = False


@dataclass
class PytestRunOutcome:
    """One run of pytest that has ended; `shown` if its output went to the terminal."""

    part: PytestRun
    exit_code: int
    cases: list[ReportedTest]
    shown: bool = False

    @property
    def reported(self) -> bool:
        """Whether pytest came to its end and wrote a report."""
        return bool(self.cases) or self.exit_code in (0, NOTHING_SELECTED)

    def add_second_try(self, again: "PytestRunOutcome") -> None:
        """Take over what came of the tests that failed when they were played once more."""
        passed = {case.name for case in again.cases if case.result == "passed"}
        # A test whose teardown failed too is in the report twice.
        passed -= {case.name for case in again.cases if case.result != "passed"}
        self.cases = [
            case._replace(result="passed", flaky=True) if case.result == "failed" and case.name in passed else case
            for case in self.cases
        ]
        if not any(case.result == "failed" for case in self.cases):
            self.exit_code = again.exit_code


@dataclass
class TierOutcome:
    """One tier: its parts, or what it was missing, and seconds."""

    name: str
    seconds: float = 0.0
    preparation_seconds: float = 0.0
    missing: str = ""
    wrong: str = ""
    parts: list[PytestRunOutcome] = field(default_factory=list)

    def count(self, result: str) -> int:
        """Give the number of tests that ended so; a run of pytest without a report counts as one that failed."""
        silent = sum(not part.reported for part in self.parts) if result == "failed" else 0
        return silent + sum(case.result == result for case in self.cases())

    def cases(self) -> list[ReportedTest]:
        """List its tests."""
        return [case for part in self.parts for case in part.cases]

    def is_good(self, *, allow_missing: bool, selected: bool) -> bool:
        """Say whether all that should have run did, and passed; of tests that were `selected`, some tiers may have
        none.
        """
        if self.missing:
            return allow_missing
        codes = {0, NOTHING_SELECTED} if selected else {0}
        ran = selected or self.count("passed") > 0
        ended = all(part.exit_code in codes for part in self.parts)
        return (
            ended
            and ran
            and not self.wrong
            and not self.count("failed")
            and (allow_missing or not self.count("skipped"))
        )

    def row(self) -> str:
        """Give its line of the table."""
        if self.missing:
            return f"{self.name:12} did not run: {self.missing}"
        counts = f"{self.count('passed'):7} {self.count('failed'):7} {self.count('skipped'):8}"
        return f"{self.name:12} {counts} {self.preparation_seconds:11.0f} s {self.seconds:8.0f} s"

    def summary(self) -> dict[str, object]:
        """Give the same for a program."""
        counts = {result: self.count(result) for result in ("passed", "failed", "skipped")}
        times = {"seconds": self.seconds, "preparation_seconds": self.preparation_seconds}
        return {"name": self.name, **counts, **times, "missing": self.missing}


def read_cases(report: Path) -> list[ReportedTest]:
    """Read a JUnit report; none if pytest died before it wrote one."""
    if not report.exists():
        return []
    return [_case(element) for element in ElementTree.parse(report).getroot().iter("testcase")]


def _case(element: ElementTree.Element) -> ReportedTest:
    name = f"{element.get('classname', '')}::{element.get('name', '')}"
    kinds = {child.tag for child in element}
    result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    namespaces = [found.get("value", "") for found in element.iter("property") if found.get("name") == "namespace"]
    return ReportedTest(name, float(element.get("time", 0)), result, "".join(namespaces[-1:]))


def print_failures(outcome: TierOutcome) -> None:
    """Print what failed in a tier, whole: each test with its log and its namespace, then pytest's own account."""
    for part in outcome.parts:
        failed = [case for case in part.cases if case.result == "failed"]
        flaky = [case for case in part.cases if case.flaky]
        if not failed and not flaky and part.exit_code in (0, NOTHING_SELECTED):
            continue
        if not flaky or failed:
            print(f"\nFAILED {part.part.name}: pytest ended with exit code {part.exit_code}; its log: {part.part.log}")
        for case in [*failed, *flaky]:
            how = "FLAKY, passed at its second try:" if case.flaky else "FAILED"
            print(f"{how} {case.name}" + (f" in namespace {case.namespace}" if case.namespace else ""))
        if not part.shown:
            print(_account(part.part.log), flush=True)
    if outcome.wrong:
        print(f"FAILED {outcome.name}: {outcome.wrong}", flush=True)


def _account(log: Path) -> str:
    """Give pytest's account of the failures in a log, or its last lines."""
    text = log.read_text(errors="replace") if log.exists() else ""
    found = re.search(
        r"^=+ (ERRORS|FAILURES) =+\n.*?(?=^=+ short test summary info =+$|\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found[0] if found else "\n".join(text.splitlines()[-LAST_LINES:])


def write_summary(outcomes: Iterable[TierOutcome], path: Path) -> None:
    """Write the outcomes for a program: the benchmark reads the times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([outcome.summary() for outcome in outcomes], indent=2) + "\n")


def print_summary(outcomes: Sequence[TierOutcome], seconds: float) -> None:
    """Print the slowest tests, the table, and the line that a machine reads."""
    cases = [(case, outcome.name) for outcome in outcomes for case in outcome.cases()]
    print("\nslowest tests")
    for case, tier in sorted(cases, key=lambda one: -one[0].seconds)[:SLOWEST]:
        print(f"{case.seconds:8.1f} s  {tier:12} {case.name}")
    print(f"\n{'tier':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'preparation':>13} {'tests':>10}")
    for outcome in outcomes:
        print(outcome.row())
    if any(outcome.missing for outcome in outcomes):
        print("Set LMMS_EVAL_TEST_ALLOW_MISSING=1 to accept tiers that cannot run on this machine.")
    if flaky := [case.name for case, _ in cases if case.flaky]:
        print(f"\n{len(flaky)} passed at the second try alone; each is a defect to mend: {', '.join(flaky)}")
    passed, failed, skipped = (
        sum(outcome.count(key) for outcome in outcomes) for key in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s", flush=True)
