"""Jobs that have done their work. Of no urgency: planned only when nothing else is to be done. Retention belongs beside this."""

from collections.abc import Iterator

from lmms_eval_operator.actions import Action, ExpireJob
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import Job, done
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.view import View


def tidy(view: View, now: Now) -> Iterator[Action]:
    """A Job that has ended stays a while for `kubectl logs`, and then Kubernetes takes it away."""

    def let_go(job: Job) -> Iterator[Action]:
        evaluation = view.evaluations.get(job.evaluation_uid)
        current = evaluation is not None and evaluation.job_uid == job.uid
        named = view.named(job.slot, job.evaluation_uid, job.attempt)
        if done(job, view.pods_of(job.evaluation_uid, job.attempt)) and not (current or named or job.deleting or job.expires):
            yield ExpireJob(job)

    return each(let_go, view.jobs)
