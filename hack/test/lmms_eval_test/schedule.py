"""Which tier runs when: all are prepared at once, and each runs as soon as the machine has processors for it.

From empty caches one preparation compiles while another downloads; where two need the same thing, one waits for its
lock.
"""

import functools
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .preparation import Failed, Missing, PytestRun, Stages, Tier, TierPreparation
from .processes import Processes
from .report import TESTS_FAILED, PytestRunOutcome, TierOutcome, read_cases

TELL_SECONDS = 30.0
# pytest's letters for tests, in a line of their own; percents stand at the end of a full line alone.
LETTERS = re.compile(r"^([.FEsxXuR]+)(?: +\[ *\d+%\])?$", re.MULTILINE)


def startable(prepared: Sequence[Tier], running: Sequence[Tier], cores: float) -> list[Tier]:
    """List the prepared tiers that there is room for beside those that run; one always has room on an idle machine."""
    found: list[Tier] = []
    for tier in prepared:
        busy = sum(other.cores for other in [*running, *found])
        if not busy or busy + tier.cores <= cores:
            found.append(tier)
    return found


def ended_tests(log: str) -> str:
    """Give from pytest's output so far how many tests have ended, and how many of them failed."""
    letters = "".join(LETTERS.findall(log))
    done, failed = len(letters) - letters.count("u"), letters.count("F") + letters.count("E")
    return f"{done} ({failed} failed)" if failed else str(done)


class TierRun:
    """One tier on its way; the schedule's thread alone calls `prepare`, `start` and `join`."""

    def __init__(self, tier: Tier, processes: Processes, arguments: Sequence[str], *, alone: bool) -> None:
        """`alone`: no other tier runs, so that the output of a single part can be shown as it comes."""
        self.tier = tier
        self._alone = alone
        self._selected = bool(arguments)
        self.outcome = TierOutcome(tier.name)
        self.prepared = self.done = False
        self._processes = processes
        self._preparation = TierPreparation(tier.name, processes, arguments)
        self._stages: Stages = ()
        self._active: list[Path] = [self._preparation.log]
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Prepare it; what is missing is in the outcome."""
        began = time.monotonic()
        try:
            self._stages = self.tier.prepare(self._preparation)
        except Missing as missing:
            self.outcome.missing = str(missing)
            self.done = True
        self.outcome.preparation_seconds = time.monotonic() - began
        self.prepared = True

    @property
    def running(self) -> bool:
        """Whether its tests run."""
        return self._thread is not None and not self.done

    def start(self) -> None:
        """Run its tests in a thread."""
        self._thread = threading.Thread(target=self._run, name=self.tier.name)
        self._thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        for stage in self._stages:
            self._active = [part.log for part in stage]
            run_part = functools.partial(self._run_part, show=self._alone and len(stage) == 1)
            with ThreadPoolExecutor(max(1, len(stage))) as pool:
                self.outcome.parts += pool.map(run_part, stage)
        self._try_again()
        try:
            self.tier.verify(self._preparation)
        except Failed as failed:
            self.outcome.wrong = str(failed)
        self.outcome.seconds = time.monotonic() - began
        self.done = True

    def _try_again(self) -> None:
        """Play the tests that failed once more, by themselves, if they are so few that it can be an accident."""
        if self._selected or self.outcome.count("failed") > self.tier.second_tries:
            return
        for part in self.outcome.parts:
            # Without a report pytest died, and what it remembers of failures is an older run's.
            if part.exit_code == TESTS_FAILED and any(case.result == "failed" for case in part.cases):
                part.add_second_try(self._run_part(part.part.second_try(), show=False))

    def _run_part(self, part: PytestRun, *, show: bool) -> PytestRunOutcome:
        part.log.unlink(missing_ok=True)
        part.report.unlink(missing_ok=True)
        code = self._processes.run(part.command, log=part.log, environment=part.environment, echo=show)
        return PytestRunOutcome(part, code, read_cases(part.report), shown=show)

    def progress(self) -> str:
        """Give how far it is: of its tests, how many each part has behind it; of its preparation, the last line."""
        logs = [log.read_text(errors="replace") if log.exists() else "" for log in self._active]
        if not self.running:
            return f"{self.tier.name}: preparing: {''.join(logs[0].strip().splitlines()[-1:])}"
        return f"{self.tier.name}: {', '.join(ended_tests(text) for text in logs)} tests"


class Schedule:
    """Runs tiers."""

    def __init__(self, tiers: Sequence[Tier], *, processes: Processes, arguments: Sequence[str], cores: float) -> None:
        """`arguments` are pytest's; `cores` is how many processors there are."""
        self._runs = [TierRun(tier, processes, arguments, alone=len(tiers) == 1) for tier in tiers]
        self._cores = cores

    def run(self, tell: Callable[[str], None], finished: Callable[[TierOutcome], None]) -> list[TierOutcome]:
        """Run all; `tell` gets lines about the progress, `finished` each tier as it ends."""
        for each in self._runs:
            threading.Thread(target=each.prepare, name=f"preparation of {each.tier.name}", daemon=True).start()
        began = reported_at = time.monotonic()
        open_runs = list(self._runs)
        while open_runs:
            self._start(tell)
            for run in [run for run in open_runs if run.done]:
                open_runs.remove(run)
                finished(run.outcome)
            if time.monotonic() - reported_at >= TELL_SECONDS and open_runs:
                reported_at = time.monotonic()
                active = [run.progress() for run in open_runs if run.running or not run.prepared]
                tell(f"{reported_at - began:6.0f} s  {' · '.join(active)}")
            time.sleep(0.2)
        return [run.outcome for run in self._runs]

    def _start(self, tell: Callable[[str], None]) -> None:
        ready = [run for run in self._runs if run.prepared and not run.running and not run.done]
        running = [run.tier for run in self._runs if run.running]
        for tier in startable([run.tier for run in ready], running, self._cores):
            tell(f"=== {tier.name}: {tier.what}")
            next(run for run in ready if run.tier is tier).start()
