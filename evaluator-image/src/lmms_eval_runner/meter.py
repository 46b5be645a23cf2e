"""Turns what happens inside the harness into `progress.json` and `marks.json`. Knows nothing of lmms-eval; `progress`
feeds it.

`marks.json` is for the runner alone: the moments that the timings are made of, and whether the exact model arguments
arrived.
"""

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from lmms_eval_core.run import (
    MAX_JSON_BYTES,
    PROGRESS_FILE,
    ProgressReport,
    ResumedAnswers,
    RunFile,
    Stage,
    write_atomically,
)

MARKS_FILE: Final = "marks.json"
INTERVAL_SECONDS: Final = 1.0

_LOADING = re.compile(r"^Loading (weights|checkpoint shards|safetensors)")
_ANSWERING = re.compile(r"Responding|^\w+ [Gg]enerating$")
_SCORING = re.compile(r"^(Postprocessing|Bootstrap)")
_ORDER: Final = list(Stage)


class ProgressBar(Protocol):
    """What tqdm's bars and lmms-eval's own have in common."""

    desc: str
    n: float
    total: float | None
    disable: bool


class Marks(RunFile):
    """Unix seconds of the moments that matter, as far as they came."""

    exact_model_args: bool = False
    loading_at: float | None = None
    loaded_at: float | None = None
    answering_at: float | None = None
    scoring_at: float | None = None


def read_marks(directory: Path) -> Marks:
    """Return the marks in a run directory; empty ones where there are none that can be read."""
    try:
        with (directory / MARKS_FILE).open("rb") as file:
            return Marks.model_validate_json(file.read(MAX_JSON_BYTES))
    except (OSError, ValueError):
        return Marks()


class Meter:
    """Counts the answers of all tasks together: requests, or where there is no journal the units of the adapter's bar.

    Each of `ranks` has an equal share and a bar for it; the first one, which reports, speaks for all. Only the process
    that made the meter reports: a worker that was forked from it stays silent.
    """

    def __init__(self, directory: Path, clock: Callable[[], float], *, ranks: int = 1) -> None:
        self._directory, self._clock, self._pid, self._ranks = directory, clock, os.getpid(), ranks
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._bar: ProgressBar | None = None
        self._bar_started_at = 0.0
        self._before = 0
        self.marks = Marks()
        self.report = ProgressReport(stage_started_at=clock(), updated_at=clock())

    def record_loading(self, *, exact_model_args: bool) -> None:
        """Record that the adapter is about to be made."""
        self.marks.exact_model_args = exact_model_args
        self.marks.loading_at = self._clock()
        self._enter(Stage.LOADING_MODEL)

    def record_loaded(self) -> None:
        """Record that the adapter is made; what follows is data and answers."""
        self.marks.loaded_at = self._clock()
        self._enter(Stage.EVALUATING)

    def record_resumed(self, resumed: ResumedAnswers | None) -> None:
        """Record how many answers of earlier attempts stand, if any."""
        self.report.resumed = resumed

    def record_started_anew(self, why: str) -> None:
        """Record why the answers of earlier attempts do not count."""
        self.report.started_anew = why

    def record_journaled(self, count: int) -> None:
        """Record that so many more answers of a rank are kept."""
        self.report.journaled += count * self._ranks

    def record_journal_off(self, why: str) -> None:
        """Record that no more answers are kept, and write it: no bar may move any more."""
        self.report.journal_off = why
        self._write()

    def restart_answers(self) -> None:
        """Forget the last bar of answers: what it counted is asked for again."""
        self._bar = None
        self.report.completed = self.report.total = self._before or None

    def read_bar(self, bar: ProgressBar) -> None:
        """Read a bar that was made, or moved."""
        self._read_bar(bar, closing=False)

    def read_closing_bar(self, bar: ProgressBar) -> None:
        """Read a bar that is about to be closed."""
        self._read_bar(bar, closing=True)

    def _read_bar(self, bar: ProgressBar, *, closing: bool) -> None:
        # A bar that is disabled, or whose making failed, lacks most attributes.
        if getattr(bar, "disable", True) or os.getpid() != self._pid or not self._lock.acquire(blocking=False):
            return
        try:
            self._record(str(getattr(bar, "desc", "") or "").rstrip(": "), bar, closing)
        finally:
            self._lock.release()

    def _record(self, description: str, bar: ProgressBar, closing: bool) -> None:
        if _ANSWERING.search(description):
            self._record_answers(bar, closing)
        elif _SCORING.match(description):
            self.marks.scoring_at = self.marks.scoring_at or self._clock()
            self._enter(Stage.SCORING)
        elif _LOADING.match(description):
            self._enter(Stage.LOADING_MODEL)

    def _record_answers(self, bar: ProgressBar, closing: bool) -> None:
        fresh = bar is not self._bar
        if fresh and (closing or self._is_busy()):
            return
        if fresh:
            self._begin(bar)
        # What the bar began with took no time: answers of earlier attempts.
        initial = self._multiply_by_ranks(getattr(bar, "initial", 0)) or 0
        self._count(self._multiply_by_ranks(bar.n), self._multiply_by_ranks(bar.total), initial)
        if closing:
            self._bar = None
        if fresh or closing or self._clock() - self._written_at >= INTERVAL_SECONDS:
            self._write()

    def _is_busy(self) -> bool:
        """Return whether a bar is under way; others inside it are of its parts.

        One that was never closed ends when full.
        """
        full = self.report.total is not None and self.report.completed == self.report.total
        return self._bar is not None and not full

    def _begin(self, bar: ProgressBar) -> None:
        """Go on counting: a run with several kinds of requests shows one bar after the other."""
        self._before = self.report.total or 0
        self._bar, self._bar_started_at = bar, self._clock()
        self.marks.answering_at = self.marks.answering_at or self._bar_started_at
        self._enter(Stage.EVALUATING)

    def _count(self, done: int | None, total: int | None, initial: int) -> None:
        done, seconds = done or 0, self._clock() - self._bar_started_at
        # Some adapters count batches and then step by samples: never show more than there is.
        done = done if total is None else min(done, total)
        rate = (done - initial) / seconds if seconds > 0 and done > initial else None
        self.report.completed = self._before + done
        self.report.total = None if total is None else self._before + total
        self.report.rate = rate
        self.report.eta_seconds = round((total - done) / rate) if rate and total is not None else None

    def _multiply_by_ranks(self, number: object) -> int | None:
        return int(number) * self._ranks if isinstance(number, int | float) and 0 <= number < 2**53 else None

    def _enter(self, stage: Stage) -> None:
        if _ORDER.index(stage) <= _ORDER.index(self.report.stage):
            return
        self.report.stage, self.report.stage_started_at = stage, self._clock()
        self._write()

    def _write(self) -> None:
        self._written_at = self.report.updated_at = self._clock()
        try:
            write_atomically(self._directory / MARKS_FILE, self.marks.to_json(), durable=False)
            write_atomically(self._directory / PROGRESS_FILE, self.report.to_json(), durable=False)
        except OSError:
            # A full disk must not end an evaluation; the next report may arrive.
            return
