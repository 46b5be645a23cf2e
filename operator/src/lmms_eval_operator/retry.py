"""Whether a failed attempt is followed by another one, and when. Pure; `derive` asks, `patches` writes it down.

The class of the failure decides first (the table of endings in core): what would fail again is never tried again.
"""

from datetime import datetime, timedelta
from typing import Final

from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import Reason
from lmms_eval_core.schema import rfc3339
from lmms_eval_operator.action_failures import doubling
from lmms_eval_operator.objects import Evaluation

LONGEST_SECONDS: Final = 300


def tried_again(evaluation: Evaluation, reason: Reason) -> bool:
    """Whether the running attempt, should it end for `reason`, is followed by another."""
    return BY_REASON[reason].retry and evaluation.attempt <= evaluation.retries


def next_attempt_at(evaluation: Evaluation, *, first_seconds: int, now: datetime) -> str:
    """The earliest start of the attempt after the running one: twice as long a wait each time, as a Job's own back-off."""
    wait = doubling(first_seconds, evaluation.attempt, LONGEST_SECONDS)
    return rfc3339(now + timedelta(seconds=wait))


def story(evaluation: Evaluation, number: int, reason: str, message: str) -> str:
    """What is told while the next attempt is waited for."""
    return f"attempt {number} of {evaluation.retries + 1} ended as {reason}: {message}"
