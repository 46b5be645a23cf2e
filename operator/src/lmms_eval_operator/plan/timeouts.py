"""The user's own timers: `timeoutSeconds` over all attempts, `stallTimeoutSeconds` without progress.

They end a run like a cancel does; the status says which one it was, so that the end tells it whoever writes it.
"""

from collections.abc import Iterator
from typing import Final

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.run import Stage
from lmms_eval_operator.actions import Action, EndQueued, LookAgain, Stop
from lmms_eval_operator.clock import Now, seconds_until
from lmms_eval_operator.derive import Verdict, timed_out
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.view import View

# Waiting for the store or the API server has a limit of its own.
MAY_STALL: Final = frozenset({Stage.LOADING_MODEL, Stage.EVALUATING, Stage.SCORING})


def timeouts(view: View, now: Now) -> Iterator[Action]:
    """Ends what has used up its time."""

    def end_in_time(evaluation: Evaluation) -> Iterator[Action]:
        yield from _deadline(view, evaluation, now)
        yield from _stall(view, evaluation, now)

    return each(end_in_time, (evaluation for evaluation in view.evaluations.begun() if not evaluation.stopping))


def _deadline(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    if evaluation.timeout_seconds is None or not evaluation.started_at:
        return
    wait = seconds_until(evaluation.started_at, evaluation.timeout_seconds, now)
    if wait:
        yield LookAgain(wait)
    elif evaluation.phase is Phase.QUEUED:
        message = timed_out(evaluation, Reason.DEADLINE_EXCEEDED)
        yield EndQueued(evaluation, Verdict(Phase.FAILED, Reason.DEADLINE_EXCEEDED, message))
    else:
        yield from _stop(view, evaluation, Reason.DEADLINE_EXCEEDED)


def _stall(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    if evaluation.stall_timeout_seconds is None or not _may_stall(evaluation):
        return
    quiet = evaluation.stall_timeout_seconds - view.no_progress_for(evaluation, now.monotonic)
    wait = max(quiet, view.steady_in(evaluation.uid, now.monotonic))
    if wait > 0:
        yield LookAgain(wait)
    else:
        yield from _stop(view, evaluation, Reason.STALLED)


def _may_stall(evaluation: Evaluation) -> bool:
    running = evaluation.phase is Phase.RUNNING and evaluation.speaks_of_this_attempt and not evaluation.published
    return running and evaluation.stage in MAY_STALL and bool(evaluation.progressed_at)


def _stop(view: View, evaluation: Evaluation, timer: Reason) -> Iterator[Action]:
    pod = view.own_pod(evaluation)
    if pod is not None and not pod.terminal:
        yield Stop(evaluation, timer)
