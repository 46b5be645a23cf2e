"""Cancelled and deleted evaluations: the queued end at once, the running have their Job suspended. `finish` writes their end."""

from collections.abc import Iterator

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, EndQueued, StopJob
from lmms_eval_operator.clock import Now
from lmms_eval_operator.derive import cancelled
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.view import View


def stop(view: View, now: Now) -> Iterator[Action]:
    """Never by deleting the Job: its controller may still create a pod after that."""

    def stop_unwanted(evaluation: Evaluation) -> Iterator[Action]:
        job = view.current_job(evaluation)
        if evaluation.phase is Phase.RUNNING and job is not None and not job.stopped:
            yield StopJob(evaluation, job)
        if evaluation.phase is Phase.QUEUED and evaluation.cancel:
            yield EndQueued(evaluation, cancelled(evaluation))

    return each(stop_unwanted, (evaluation for evaluation in view.evaluations.restless() if evaluation.unwanted))
