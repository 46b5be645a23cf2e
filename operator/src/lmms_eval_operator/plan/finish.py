"""Reports where running and queued evaluations are, and ends the attempts that are over."""

from collections.abc import Iterator
from dataclasses import replace

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, EndPod, Finish, LookAgain, ReadEvents, Report
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import Derived, derive, derive_queued, find_own_pod, is_in_status
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import apply_to_each
from lmms_eval_operator.plan.start import derive_held_up
from lmms_eval_operator.pod_wait import find_silent_uid
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.view import View


def finish(view: View, now: Now) -> Iterator[Action]:
    """End what is over, report what is not."""
    first = derive_held_up(view, now)

    def report_or_end(evaluation: Evaluation) -> Iterator[Action]:
        if evaluation.phase is Phase.RUNNING:
            yield from _check_running(view, evaluation, now)
        elif not evaluation.is_unwanted:
            yield from _report(view, evaluation, first.get(evaluation.uid) or derive_queued(evaluation))

    def read_about_start(slot: Slot) -> Iterator[Action]:
        if starting := view.find_starting(slot):
            yield _read_events(view, starting[1].uid, now)

    shown = {evaluation.uid: evaluation for evaluation in view.evaluations.list_unsettled()}
    waiting = [evaluation for uid in first if (evaluation := view.evaluations.get(uid)) and uid not in shown]
    yield from apply_to_each(report_or_end, [*shown.values(), *waiting])
    yield from apply_to_each(read_about_start, view.slots.values())


def _report(view: View, evaluation: Evaluation, derived: Derived) -> Iterator[Action]:
    """Report what the status does not say yet. What could not be done for the evaluation matters more than all else."""
    message = view.failures.find_message(evaluation.uid)
    shown = replace(derived, message=message) if message else derived
    if not is_in_status(evaluation, shown):
        yield Report(evaluation, shown)


def _check_running(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    job, pods = view.find_current_job(evaluation), view.list_pods(evaluation.uid, evaluation.attempt)
    pod = find_own_pod(evaluation, pods)
    silent_uid = find_silent_uid(pod) if pod else ""
    derived = derive(
        evaluation, job, pods, view.pod_events[silent_uid].events if silent_uid in view.pod_events else None
    )
    if derived.has_ended or pod is None:
        yield Finish(evaluation)
        return
    yield from _report(view, evaluation, derived)
    if pod.keeping_container and not pod.deleting:
        wait = view.seconds_until_stopped(pod.uid, now.monotonic)
        yield LookAgain(wait) if wait else EndPod(evaluation, pod)
    if silent_uid:
        yield _read_events(view, silent_uid, now)


def _read_events(view: View, uid: str, now: Now) -> Action:
    wait = view.seconds_until_events_due(uid, now.monotonic)
    return LookAgain(wait) if wait else ReadEvents(uid)
