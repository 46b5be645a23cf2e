"""From `progress.json` to `status.progress`, and when it is worth a write.

Pure; `run_directory_watch` reads and writes.
"""

import math
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_core.run import ProgressReport, ResumedAnswers, Stage
from lmms_eval_core.status import ProgressStatus, ResumedProgress
from lmms_eval_reporter import texts

# What a JSON number holds exactly. The runner's counts are far below; what pretends to be its file is not trusted.
MAX_COUNT: Final = 2**53
# As the schema bounds it.
MAX_ATTEMPT: Final = 1_000_000
REASON_BYTES: Final = 512


class StoredAnswers(NamedTuple):
    """What the reporter itself knows of answers in the store.

    `kept` of this attempt are there, None while there is no journal; `not_kept` says why it stores no more, and
    `started_anew` why it has not brought those of an earlier attempt.
    """

    kept: int | None = None
    not_kept: str = ""
    started_anew: str = ""


NOTHING_STORED: Final = StoredAnswers()


def build_progress(report: ProgressReport, *, stored: StoredAnswers = NOTHING_STORED, now: datetime) -> ProgressStatus:
    """Return the status field. `now` is the reporter's clock: it stamps when the change was seen."""
    completed, total = count_or_none(report.completed), count_or_none(report.total)
    return ProgressStatus(
        stage=report.stage.value,
        completed=completed,
        total=total,
        percent=_compute_percent(completed, total),
        rate=number_or_none(report.rate),
        eta_seconds=count_or_none(report.eta_seconds),
        text=_format_text(report.stage, completed, total),
        resumed=_build_resumed(report.resumed),
        started_anew=_clean_reason(report.started_anew or stored.started_anew),
        kept=stored.kept,
        not_kept=_clean_reason(report.journal_off or stored.not_kept),
        updated_at=now,
    )


def build_stage_progress(stage: Stage, text: str, *, now: datetime) -> ProgressStatus:
    """Return the progress of a stage, with a text in place of counts."""
    return ProgressStatus(stage=stage.value, text=text, updated_at=now)


def count_or_none(value: int | None) -> int | None:
    """Return a count that the API server takes as an integer, or None."""
    return value if value is not None and 0 <= value <= MAX_COUNT else None


def number_or_none(value: float | None) -> float | None:
    """Return a finite number of seconds or per second, or None."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _build_resumed(answers: ResumedAnswers | None) -> ResumedProgress | None:
    if answers is None or count_or_none(answers.answers) is None or not 0 < answers.from_attempt <= MAX_ATTEMPT:
        return None
    return ResumedProgress(answers=answers.answers, from_attempt=answers.from_attempt, exactness=answers.exactness)


def _clean_reason(reason: str) -> str | None:
    return texts.clean_head(reason, REASON_BYTES) or None


def _compute_percent(completed: int | None, total: int | None) -> int | None:
    if completed is None or not total:
        return None
    # Some adapters count batches in the total and samples in the steps: lmms-eval's own bars pass 100 % then.
    return min(100, 100 * completed // total)


def _format_text(stage: Stage, completed: int | None, total: int | None) -> str:
    percent = _compute_percent(completed, total)
    if percent is not None:
        return f"{completed}/{total} {percent}%"
    # It stays when the run has failed, and then says how far that came: publishing is no part of it.
    return stage.value if stage is not Stage.PUBLISHING else ""


class _WrittenProgress(NamedTuple):
    stage: str
    completed: int | None
    total: int | None
    stored: StoredAnswers
    resumed: ResumedAnswers | None
    started_anew: str
    journal_off: str


class Pacer:
    """Decides when progress is written: a change of stage at once, a change of counts at most every `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: _WrittenProgress | None = None
        self._written_at = -math.inf

    def is_due(self, report: ProgressReport, stored: StoredAnswers = NOTHING_STORED, *, at: float) -> bool:
        """Return whether to write `report` at the monotonic time `at`."""
        new = _to_written(report, stored)
        if self._last is None or new.stage != self._last.stage:
            return True
        return new != self._last and at - self._written_at >= self._seconds

    def record_write(self, report: ProgressReport, stored: StoredAnswers = NOTHING_STORED, *, at: float) -> None:
        """Remember what the status says since the monotonic time `at`."""
        self._last, self._written_at = _to_written(report, stored), at


def _to_written(report: ProgressReport, stored: StoredAnswers) -> _WrittenProgress:
    return _WrittenProgress(
        report.stage.value,
        report.completed,
        report.total,
        stored,
        report.resumed,
        report.started_anew,
        report.journal_off,
    )
