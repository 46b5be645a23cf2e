"""Ends what is to end: cancelled and deleted evaluations, and those that have used up the time that their user gave
them.

The queued end at once; of the running the pod is deleted, and `finish` writes their end. A timer (`timeoutSeconds` over
all attempts, `stallTimeoutSeconds` without progress) ends a run like a cancel does; the status says which timer it was,
so that whoever writes the end reports it.
"""

from collections.abc import Iterator
from typing import Final

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.run import Stage
from lmms_eval_operator.actions import Action, EndPod, EndQueued, LookAgain, Stop
from lmms_eval_operator.clock import Now, seconds_until
from lmms_eval_operator.derive import Derived, derive_cancelled, explain_timeout
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import apply_to_each
from lmms_eval_operator.view import View

# Waiting for the store or the API server has a limit of its own.
STAGES_THAT_STALL: Final = frozenset({Stage.LOADING_MODEL, Stage.EVALUATING, Stage.SCORING})


def stop(view: View, now: Now) -> Iterator[Action]:
    """End cancelled and deleted evaluations, and runs that a timer or a lost slot ends (`Stop`).

    The Job stays: it keeps the logs. Another pod that its controller makes has a gate that nobody opens.
    """

    def end(evaluation: Evaluation) -> Iterator[Action]:
        pod = view.find_own_pod(evaluation)
        if evaluation.phase is Phase.RUNNING and pod is not None and not (pod.is_terminal or pod.deleting):
            yield EndPod(evaluation, pod)
        if evaluation.phase is Phase.QUEUED and evaluation.cancel:
            yield EndQueued(evaluation, derive_cancelled(evaluation))

    return apply_to_each(
        end, (evaluation for evaluation in view.evaluations.list_unsettled() if evaluation.is_stopping)
    )


def stop_on_timeout(view: View, now: Now) -> Iterator[Action]:
    """End what has used up its time."""

    def end_in_time(evaluation: Evaluation) -> Iterator[Action]:
        yield from _check_deadline(view, evaluation, now)
        yield from _check_stall(view, evaluation, now)

    begun = view.evaluations.list_begun()
    return apply_to_each(end_in_time, (evaluation for evaluation in begun if not evaluation.is_stopping))


def _check_deadline(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    if evaluation.timeout_seconds is None or not evaluation.started_at:
        return
    wait = seconds_until(evaluation.started_at, evaluation.timeout_seconds, now)
    if wait:
        yield LookAgain(wait)
    elif evaluation.phase is Phase.QUEUED:
        message = explain_timeout(evaluation, Reason.DEADLINE_EXCEEDED)
        yield EndQueued(evaluation, Derived(Phase.FAILED, Reason.DEADLINE_EXCEEDED, message))
    else:
        yield from _stop_running(view, evaluation, Reason.DEADLINE_EXCEEDED)


def _check_stall(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    if evaluation.stall_timeout_seconds is None or not _can_stall(evaluation):
        return
    left = evaluation.stall_timeout_seconds - view.seconds_without_progress(evaluation, now.monotonic)
    wait = max(left, view.seconds_until_steady(evaluation.uid, now.monotonic))
    if wait > 0:
        yield LookAgain(wait)
    else:
        yield from _stop_running(view, evaluation, Reason.STALLED)


def _can_stall(evaluation: Evaluation) -> bool:
    running = evaluation.phase is Phase.RUNNING and evaluation.has_report and not evaluation.is_published
    return running and evaluation.stage in STAGES_THAT_STALL and bool(evaluation.progressed_at)


def _stop_running(view: View, evaluation: Evaluation, timer: Reason) -> Iterator[Action]:
    pod = view.find_own_pod(evaluation)
    if pod is not None and not pod.is_terminal:
        yield Stop(evaluation, timer)
