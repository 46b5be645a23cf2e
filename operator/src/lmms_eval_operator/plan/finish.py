"""The truth about running attempts: where they are while they run, and how they ended."""

from collections.abc import Iterator
from dataclasses import replace

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, EndPod, Finish, LookAgain, ReadEvents, Report
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import Verdict, derive, in_queue, own_pod, shows
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.plan.start import held_up
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.view import View
from lmms_eval_operator.waiting import silent


def finish(view: View, now: Now) -> Iterator[Action]:
    """Ends what is over, reports what is not."""
    first = held_up(view, now)

    def tell_truth(evaluation: Evaluation) -> Iterator[Action]:
        if evaluation.phase is Phase.RUNNING:
            yield from _running(view, evaluation, now)
        elif not evaluation.unwanted:
            yield from _report(view, evaluation, first.get(evaluation.uid) or in_queue(evaluation))

    def read_about_start(slot: Slot) -> Iterator[Action]:
        if starting := view.starting(slot):
            yield _read_events(view, starting[1].uid, now)

    shown = {evaluation.uid: evaluation for evaluation in view.evaluations.restless()}
    told = [evaluation for uid in first if (evaluation := view.evaluations.get(uid)) and uid not in shown]
    yield from each(tell_truth, [*shown.values(), *told])
    yield from each(read_about_start, view.slots.values())


def _report(view: View, evaluation: Evaluation, verdict: Verdict) -> Iterator[Action]:
    """Unless it is shown already. What could not be done for the evaluation is more than what is known otherwise."""
    message = view.failures.message(evaluation.uid)
    told = replace(verdict, message=message) if message else verdict
    if not shows(evaluation, told):
        yield Report(evaluation, told)


def _running(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    job, pods = view.current_job(evaluation), view.pods_of(evaluation.uid, evaluation.attempt)
    pod = own_pod(evaluation, pods)
    quiet = silent(pod) if pod else ""
    verdict = derive(evaluation, job, pods, view.notes[quiet].events if quiet in view.notes else None)
    if verdict.over or pod is None:
        yield Finish(evaluation)
        return
    yield from _report(view, evaluation, verdict)
    if pod.kept_by and not pod.deleting:
        wait = view.kept_on_for(pod.uid, now.monotonic)
        yield LookAgain(wait) if wait else EndPod(evaluation, pod)
    if quiet:
        yield _read_events(view, quiet, now)


def _read_events(view: View, uid: str, now: Now) -> Action:
    wait = view.events_due_in(uid, now.monotonic)
    return LookAgain(wait) if wait else ReadEvents(uid)
