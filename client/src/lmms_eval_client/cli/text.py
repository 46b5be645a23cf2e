"""Words and numbers for people: ages, progress, states. Pure."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from lmms_eval_core.redact import plain
from lmms_eval_core.status import describe_not_kept, describe_resumed, describe_started_anew
from lmms_eval_core.wire import Attempt, JobInfo, JobStatus, JobSummary, Progress

# What a spreadsheet takes for a formula.
FORMULA: Final = tuple("=+-@\t\r")
NEWLINES: Final = re.compile(r"\s*[\r\n]+\s*")
UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
UNKNOWN: Final = "-"


def clean(text: str, *, lines: bool = False) -> str:
    """Return text without control characters, on one line unless `lines`."""
    return plain(text if lines else NEWLINES.sub(" ", text))


def to_csv_cell(value: Any) -> Any:
    """Return a value as a cell that no spreadsheet computes: a text that looks like a formula gets a quote in front."""
    if not isinstance(value, str):
        return clean(json.dumps(value, ensure_ascii=False)) if isinstance(value, list | dict) else value
    text = clean(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def format_age(moment: str | None, now: datetime) -> str:
    """Format how long ago a moment was, in its largest unit or two: 42s, 5m10s, 3h, 12d."""
    if not moment:
        return UNKNOWN
    return format_duration((now - _parse_moment(moment)).total_seconds())


def format_duration(seconds: float) -> str:
    """Format a span of time as kubectl does."""
    left = max(0, int(seconds))
    for size, unit in UNITS:
        if left >= size:
            rest = _format_rest(left % size, size) if left < 10 * size else ""
            return f"{left // size}{unit}{rest}"
    return "0s"


def _format_rest(seconds: int, size: int) -> str:
    smaller = [(below, unit) for below, unit in UNITS if below < size]
    if not smaller or seconds < smaller[0][0]:
        return ""
    return f"{seconds // smaller[0][0]}{smaller[0][1]}"


def format_progress(progress: Progress | None) -> str:
    """Format progress as 12/32 38%."""
    if progress is None or progress.completed is None:
        return UNKNOWN
    if progress.total is None:
        return str(progress.completed)
    percent = f" {progress.percent}%" if progress.percent is not None else ""
    return f"{progress.completed}/{progress.total}{percent}"


def describe_state(job: JobInfo | JobSummary) -> str:
    """Return the state of a job in one line: status, reason and details."""
    parts = [f"{job.status}{f' ({job.reason})' if job.reason else ''}"]
    if job.status is JobStatus.QUEUED and not job.hold and job.position_in_queue is not None:
        parts.append(f"{job.position_in_queue} before it")
    if job.status is JobStatus.RUNNING and job.progress and job.progress.completed is not None:
        parts.append(format_progress(job.progress))
    if job.message and job.status is not JobStatus.COMPLETED:
        parts.append(clean(job.message))
    return ", ".join(parts)


def describe_attempt(attempt: Attempt) -> str:
    """Return how an attempt ended, where, what it had from earlier ones, and why it leaves nothing to later ones."""
    parts = [f"{attempt.reason or 'runs'}{f' on {attempt.node}' if attempt.node else ''}"]
    if attempt.resumed:
        had = attempt.resumed
        parts.append(describe_resumed(had.answers, had.from_attempt, had.exactness))
    elif attempt.started_anew:
        parts.append(describe_started_anew(attempt.started_anew))
    if attempt.not_kept:
        parts.append(describe_not_kept(attempt.not_kept))
    if attempt.free:
        parts.append("spent no retry")
    return ", ".join(parts) + (f": {attempt.message}" if attempt.message else "")


def read_now() -> datetime:
    """Return the time that ages are relative to."""
    return datetime.now(UTC)


def _parse_moment(moment: str) -> datetime:
    parsed = datetime.fromisoformat(moment)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
