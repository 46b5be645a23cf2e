"""Notifies listeners of each status that was written and moved an evaluation: a line in the log, events, counters.

They are told as well when an attempt goes on with answers of earlier ones, or does not, or keeps none of its own.
`apply` calls for each write that succeeded; nothing here waits or fails. `event_recorder` and `metrics` listen.
"""

import logging
from collections.abc import Callable

from lmms_eval_core.kube.client import Object
from lmms_eval_operator.objects import Evaluation, select_new_facts
from lmms_eval_operator.structured_log import log_fields

# Called with the evaluation before and after a status was written.
Listener = Callable[[Evaluation, Evaluation], None]

log = logging.getLogger(__name__)


def has_moved(before: Evaluation, after: Evaluation) -> bool:
    """Return whether phase, reason or attempt changed.

    A message that changed alone, as the scheduler's does, is no move.
    """
    return (before.phase, before.reason, before.attempt) != (after.phase, after.reason, after.attempt)


def find_resume_facts(before: Evaluation, after: Evaluation) -> Object:
    """Return what the entry of the last attempt says of answers that outlive it, as far as it did not say so before."""
    known, entry = (item.attempts[-1] if item.attempts else {} for item in (before, after))
    return select_new_facts(entry, known if known.get("number") == entry.get("number") else {})


def notify_listeners(*listeners: Listener) -> Listener:
    """Return one listener for all of them; they are called for moves, and where `find_resume_facts` finds any."""

    def notify(before: Evaluation, after: Evaluation) -> None:
        if has_moved(before, after) or find_resume_facts(before, after):
            for listener in listeners:
                try:
                    listener(before, after)
                except Exception:
                    # The status is written: a listener must not make that a failure.
                    log.exception("a move could not be told", extra=log_fields(evaluation=after.name))

    return notify


def log_move(before: Evaluation, after: Evaluation) -> None:
    """Log one line for each move of an evaluation, with what is new of its attempt's answers."""
    fields = log_fields(
        evaluation=after.name,
        attempt=after.attempt,
        phase=after.phase.value,
        reason=after.reason,
        sentence=after.message,
        before=before.reason,
        **find_resume_facts(before, after),
    )
    log.info("moved", extra=fields)
