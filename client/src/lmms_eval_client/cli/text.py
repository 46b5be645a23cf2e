"""Words and numbers for people: ages, progress, states. Pure."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from lmms_eval_core.redact import plain
from lmms_eval_core.wire import JobInfo, JobStatus, JobSummary, Progress

# What a spreadsheet takes for a formula.
FORMULA: Final = tuple("=+-@\t\r")
NEWLINES: Final = re.compile(r"\s*[\r\n]+\s*")
UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
UNKNOWN: Final = "-"


def clean(text: str, *, lines: bool = False) -> str:
    """Text without control characters, on one line unless `lines`."""
    return plain(text if lines else NEWLINES.sub(" ", text))


def csv_cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet computes: a text that looks like a formula gets a quote in front. Numbers stay."""
    if not isinstance(value, str):
        return clean(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | dict) else value
    text = clean(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def age(moment: str | None, now: datetime) -> str:
    """How long ago, in its largest unit or two: 42s, 5m10s, 3h, 12d."""
    if not moment:
        return UNKNOWN
    return duration((now - _parsed(moment)).total_seconds())


def duration(seconds: float) -> str:
    """A span of time, as kubectl writes it."""
    left = max(0, int(seconds))
    for size, unit in UNITS:
        if left >= size:
            rest = _rest(left % size, size) if left < 10 * size else ""
            return f"{left // size}{unit}{rest}"
    return "0s"


def _rest(seconds: int, size: int) -> str:
    smaller = [(below, unit) for below, unit in UNITS if below < size]
    if not smaller or seconds < smaller[0][0]:
        return ""
    return f"{seconds // smaller[0][0]}{smaller[0][1]}"


def progress_text(progress: Progress | None) -> str:
    """How far, as 12/32 38%."""
    if progress is None or progress.completed is None:
        return UNKNOWN
    if progress.total is None:
        return str(progress.completed)
    percent = f" {progress.percent}%" if progress.percent is not None else ""
    return f"{progress.completed}/{progress.total}{percent}"


def state(job: JobInfo | JobSummary) -> str:
    """What a job does, in a line: status, reason, and what is worth knowing of either."""
    parts = [f"{job.status}{f' ({job.reason})' if job.reason else ''}"]
    if job.status is JobStatus.QUEUED and not job.hold and job.position_in_queue is not None:
        parts.append(f"{job.position_in_queue} before it")
    if job.status is JobStatus.RUNNING and job.progress and job.progress.completed is not None:
        parts.append(progress_text(job.progress))
    if job.message and job.status is not JobStatus.COMPLETED:
        parts.append(clean(job.message))
    return ", ".join(parts)


def now() -> datetime:
    """The time, as ages are reckoned."""
    return datetime.now(UTC)


def _parsed(moment: str) -> datetime:
    parsed = datetime.fromisoformat(moment)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
