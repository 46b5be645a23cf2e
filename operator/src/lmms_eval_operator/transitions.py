"""From a status that was written to those who listen: one line in the log, an event, counters.

`apply` calls for each write that succeeded; nothing here waits or fails. `events` and `metrics` listen.
"""

import logging
from collections.abc import Callable

from lmms_eval_operator import logs
from lmms_eval_operator.objects import Evaluation

# Hears of a status that was written: the evaluation before and after.
Listener = Callable[[Evaluation, Evaluation], None]

log = logging.getLogger(__name__)


def moved(before: Evaluation, after: Evaluation) -> bool:
    """Whether it is somewhere else now. A message that changed alone, as the scheduler's does all the time, is no move."""
    return (before.phase, before.reason, before.attempt) != (after.phase, after.reason, after.attempt)


def tell(*listeners: Listener) -> Listener:
    """One listener for all of them; they hear of moves alone."""

    def told(before: Evaluation, after: Evaluation) -> None:
        if moved(before, after):
            for listener in listeners:
                try:
                    listener(before, after)
                except Exception:
                    # The status is written: what tells of it must not make that a failure.
                    log.exception("a move could not be told", extra=logs.keys(evaluation=after.name))

    return told


def log_move(before: Evaluation, after: Evaluation) -> None:
    """The story of every evaluation, one line a step."""
    keys = logs.keys(
        evaluation=after.name,
        attempt=after.attempt,
        phase=after.phase.value,
        reason=after.reason,
        sentence=after.message,
        before=before.reason,
    )
    log.info("moved", extra=keys)
