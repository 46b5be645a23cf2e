"""The truth about running attempts: where they are while they run, and how they ended."""

from collections.abc import Iterator

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, Finish, LookAgain, ReadEvents, Report
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import derive, in_queue, shows
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.view import View
from lmms_eval_operator.waiting import silent


def finish(view: View, now: Now) -> Iterator[Action]:
    """Ends what is over, reports what is not."""
    for evaluation in view.evaluations.restless():
        if evaluation.phase is Phase.RUNNING:
            yield from _running(view, evaluation, now)
        elif not evaluation.unwanted:
            yield Report(evaluation, in_queue(evaluation))


def _running(view: View, evaluation: Evaluation, now: Now) -> Iterator[Action]:
    job, pods = view.current_job(evaluation), view.pods_of(evaluation.uid, evaluation.attempt)
    quiet = silent(job, pods)
    verdict = derive(evaluation, job, pods, view.notes[quiet].events if quiet in view.notes else ())
    if verdict.over:
        wait = 0.0 if job is not None else view.settles_in(evaluation.uid, evaluation.attempt, now.monotonic)
        yield LookAgain(wait) if wait else Finish(evaluation, job_gone=job is None)
        return
    if not shows(evaluation, verdict):
        yield Report(evaluation, verdict)
    if quiet:
        wait = view.events_due_in(quiet, now.monotonic)
        yield LookAgain(wait) if wait else ReadEvents(quiet)
