"""Jobs that have done their work. Of no urgency: planned only when nothing else is to be done. Retention belongs beside this."""

from collections.abc import Iterator

from lmms_eval_operator.actions import Action, DeleteJob, ExpireJob
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import Job
from lmms_eval_operator.view import View


def tidy(view: View, now: Now) -> Iterator[Action]:
    """A stopped Job is deleted; one that ended by itself stays a while for `kubectl logs`, and Kubernetes takes it away."""
    for job in view.jobs:
        if _done(view, job):
            if job.stopped:
                yield DeleteJob(job)
            elif not job.expires:
                yield ExpireJob(job)


def _done(view: View, job: Job) -> bool:
    evaluation = view.evaluations.get(job.evaluation_uid)
    current = evaluation is not None and evaluation.job_uid == job.uid
    named = view.named(job.slot, job.evaluation_uid, job.attempt)
    return not (current or named or job.deleting or view.may_run(job))
