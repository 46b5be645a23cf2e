"""Jobs that have done their work. Of no urgency: planned only when nothing else is to be done. Retention belongs beside this."""

from collections.abc import Iterator

from lmms_eval_operator.actions import Action, DeleteJob, ExpireJob
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import Job
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.view import View


def tidy(view: View, now: Now) -> Iterator[Action]:
    """A stopped Job is deleted; one that ended by itself stays a while for `kubectl logs`, and Kubernetes takes it away."""

    def let_go(job: Job) -> Iterator[Action]:
        if _done(view, job) and job.stopped:
            yield DeleteJob(job)
        elif _done(view, job) and not job.expires:
            yield ExpireJob(job)

    return each(let_go, view.jobs)


def _done(view: View, job: Job) -> bool:
    evaluation = view.evaluations.get(job.evaluation_uid)
    current = evaluation is not None and evaluation.job_uid == job.uid
    named = view.named(job.slot, job.evaluation_uid, job.attempt)
    return not (current or named or job.deleting or view.may_run(job))
