"""From `progress.json` to `status.progress`, and when it is worth a write. Pure; `watch` reads the file and sends."""

import math
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_core.run import ProgressReport, Stage
from lmms_eval_core.status import Progress

# What a JSON number holds exactly. The runner's counts are far below; what pretends to be its file is not trusted.
MAX_COUNT: Final = 2**53


def progress(report: ProgressReport, *, now: datetime) -> Progress:
    """The status field. `now` is the reporter's clock: it stamps when the change was seen."""
    completed, total = count(report.completed), count(report.total)
    return Progress(
        stage=report.stage.value,
        completed=completed,
        total=total,
        percent=_percent(completed, total),
        rate=finite(report.rate),
        eta_seconds=count(report.eta_seconds),
        text=_text(report.stage, completed, total),
        updated_at=now,
    )


def said(stage: Stage, text: str, *, now: datetime) -> Progress:
    """A stage with words in place of counts."""
    return Progress(stage=stage.value, text=text, updated_at=now)


def count(value: int | None) -> int | None:
    """A count that the API server takes as an integer, or None."""
    return value if value is not None and 0 <= value <= MAX_COUNT else None


def finite(value: float | None) -> float | None:
    """A number of seconds or per second, or None."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _percent(completed: int | None, total: int | None) -> int | None:
    if completed is None or not total:
        return None
    # Some adapters count batches in the total and samples in the steps: lmms-eval's own bars pass 100 % then.
    return min(100, 100 * completed // total)


def _text(stage: Stage, completed: int | None, total: int | None) -> str:
    percent = _percent(completed, total)
    if percent is not None:
        return f"{completed}/{total} {percent}%"
    # It stays when the run has failed, and then says how far that came: publishing is no part of it.
    return stage.value if stage is not Stage.PUBLISHING else ""


class _Shown(NamedTuple):
    stage: str
    completed: int | None
    total: int | None


class Pacer:
    """Lets a change of stage pass at once, and a change of counts at most every `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: _Shown | None = None
        self._sent_at = -math.inf

    def due(self, report: ProgressReport, *, at: float) -> bool:
        """Whether to write `report` at the monotonic time `at`."""
        shown = _shown(report)
        if self._last is None or shown.stage != self._last.stage:
            return True
        return shown != self._last and at - self._sent_at >= self._seconds

    def sent(self, report: ProgressReport, *, at: float) -> None:
        """Remembers what the status says now."""
        self._last, self._sent_at = _shown(report), at


def _shown(report: ProgressReport) -> _Shown:
    return _Shown(report.stage.value, report.completed, report.total)
