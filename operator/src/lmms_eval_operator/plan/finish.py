"""The truth about running attempts: where they are while they run, and how they ended."""

from collections.abc import Iterator

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.actions import Action, Finish, LookAgain, ReadEvents, Report
from lmms_eval_operator.derive import Verdict, derive
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.view import View
from lmms_eval_operator.waiting import silent


def finish(view: View, now: float) -> Iterator[Action]:
    """Ends what is over, reports what is not."""
    for evaluation in view.evaluations:
        if evaluation.phase is Phase.RUNNING:
            yield from _running(view, evaluation, now)
        elif not evaluation.unwanted:
            yield from _queued(evaluation)


def _running(view: View, evaluation: Evaluation, now: float) -> Iterator[Action]:
    job, pods = view.current_job(evaluation), view.pods_of(evaluation.uid, evaluation.attempt)
    quiet = silent(job, pods)
    verdict = derive(evaluation, job, pods, view.notes[quiet].events if quiet in view.notes else ())
    if verdict.over:
        wait = 0.0 if job is not None else view.settles_in(evaluation.uid, evaluation.attempt, now)
        yield LookAgain(wait) if wait else Finish(evaluation, job_gone=job is None)
        return
    if _news(evaluation, verdict):
        yield Report(evaluation, verdict)
    if quiet:
        wait = view.events_due_in(quiet, now)
        yield LookAgain(wait) if wait else ReadEvents(quiet)


def _news(evaluation: Evaluation, verdict: Verdict) -> bool:
    same = (evaluation.reason, evaluation.message) == (verdict.reason, verdict.message)
    return not same or bool(verdict.facts.node and verdict.facts.node != evaluation.node)


def _queued(evaluation: Evaluation) -> Iterator[Action]:
    if evaluation.hold:
        verdict = Verdict(Phase.QUEUED, Reason.ON_HOLD, "set spec.hold to false to let it run")
    else:
        verdict = Verdict(Phase.QUEUED, Reason.WAITING_FOR_TURN)
    if (evaluation.reason, evaluation.message) != (verdict.reason, verdict.message):
        yield Report(evaluation, verdict)
