"""Notifies listeners of each status that was written and moved an evaluation: a line in the log, an event, counters.

`apply` calls for each write that succeeded; nothing here waits or fails. `event_recorder` and `metrics` listen.
"""

import logging
from collections.abc import Callable

from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.structured_log import log_fields

# Called with the evaluation before and after a status was written.
Listener = Callable[[Evaluation, Evaluation], None]

log = logging.getLogger(__name__)


def has_moved(before: Evaluation, after: Evaluation) -> bool:
    """Return whether phase, reason or attempt changed.

    A message that changed alone, as the scheduler's does, is no move.
    """
    return (before.phase, before.reason, before.attempt) != (after.phase, after.reason, after.attempt)


def notify_listeners(*listeners: Listener) -> Listener:
    """Return one listener for all of them; they are called for moves alone."""

    def notify(before: Evaluation, after: Evaluation) -> None:
        if has_moved(before, after):
            for listener in listeners:
                try:
                    listener(before, after)
                except Exception:
                    # The status is written: a listener must not make that a failure.
                    log.exception("a move could not be told", extra=log_fields(evaluation=after.name))

    return notify


def log_move(before: Evaluation, after: Evaluation) -> None:
    """Log one line for each move of an evaluation."""
    fields = log_fields(
        evaluation=after.name,
        attempt=after.attempt,
        phase=after.phase.value,
        reason=after.reason,
        sentence=after.message,
        before=before.reason,
    )
    log.info("moved", extra=fields)
