"""Slots whose attempt is over, and Jobs, pods and runs that nobody stands behind: after a crash as in everyday life.

`releasable` and `orphan` are asked of the view here, and by `apply` of what the API server says the moment before the write.
"""

from collections.abc import Iterator, Sequence

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.actions import Action, DeleteJob, DeletePod, Release, Stop
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import Evaluation, Job, Pod, done
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.view import View


def recover(view: View, now: Now) -> Iterator[Action]:
    """Frees slots, ends what is in none, takes orphans away."""

    def release_slot(slot: Slot) -> Iterator[Action]:
        return _held(view, slot)

    def end_strayed(evaluation: Evaluation) -> Iterator[Action]:
        return _strayed(view, evaluation)

    def delete_orphan(job: Job) -> Iterator[Action]:
        return _job(view, job)

    def delete_pod(pod: Pod) -> Iterator[Action]:
        return _pod(view, pod)

    # One that this process saw end needs no recovery: `start` takes the slot on.
    yield from each(release_slot, (slot for slot in view.slots.values() if not slot.register.free and not view.is_over(slot)))
    yield from each(end_strayed, view.evaluations.restless())
    yield from each(delete_orphan, view.jobs)
    yield from each(delete_pod, view.pods)


def needed(evaluation: Evaluation | None, holder: Holder, slot: int) -> bool:
    """Whether the holder is an attempt that runs in this slot, or is about to start."""
    if evaluation is None or evaluation.uid != holder.uid:
        return False
    if evaluation.phase is Phase.RUNNING:
        return holder.attempt == evaluation.attempt and evaluation.slot == slot
    return holder.attempt == evaluation.attempt + 1 and evaluation.startable


def releasable(evaluation: Evaluation | None, pods: Sequence[Pod], holder: Holder, slot: int) -> bool:
    """Whether nothing of the holder can be in the slot, now or later. `evaluation` is None if it is gone.

    A pod behind our gate counts as well: a status may name it, and another operator may be about to open it. One that the
    Job controller makes later is named by none, so that nobody opens it.
    """
    if needed(evaluation, holder, slot):
        return False
    if evaluation is not None and evaluation.phase is Phase.RUNNING and evaluation.attempt == holder.attempt:
        # It runs in another slot, and this one was claimed beside it.
        return evaluation.uid == holder.uid
    return all(pod.terminal for pod in pods)


def orphan(evaluation: Evaluation | None, job: Job, pods: Sequence[Pod], *, named: bool) -> bool:
    """Whether nobody stands behind a Job: no slot, no evaluation, or not at this point of its life.

    One that has ended is none, as it keeps the logs; but of an attempt that is to start it would be in the way.
    """
    over = done(job, pods)
    if evaluation is not None and evaluation.phase is Phase.QUEUED and evaluation.attempt + 1 == job.attempt:
        return over or not (named and evaluation.startable and job.gated)
    current = evaluation is not None and evaluation.phase is Phase.RUNNING and job.uid == evaluation.job_uid
    return not (over or current)


def _held(view: View, slot: Slot) -> Iterator[Action]:
    holder = slot.holder
    if holder is None:
        yield Release(slot)
        return
    evaluation, pods = view.evaluations.get(holder.uid), view.pods_of(holder.uid, holder.attempt)
    if releasable(evaluation, pods, holder, slot.index):
        yield Release(slot)


def _strayed(view: View, evaluation: Evaluation) -> Iterator[Action]:
    """A run whose slot is not its own any more: somebody deleted or changed its Lease."""
    if evaluation.phase is Phase.RUNNING and not evaluation.stopping and not view.in_its_slot(evaluation):
        yield Stop(evaluation, Reason.INTERRUPTED)


def _job(view: View, job: Job) -> Iterator[Action]:
    named, pods = view.named(job.slot, job.evaluation_uid, job.attempt), view.pods_of(job.evaluation_uid, job.attempt)
    if not job.deleting and orphan(view.evaluations.get(job.evaluation_uid), job, pods, named=named):
        yield DeleteJob(job)


def _pod(view: View, pod: Pod) -> Iterator[Action]:
    """A pod without a Job is Kubernetes' to delete, as a rule; but not if somebody deleted the Job and left the pod behind."""
    if pod.terminal or pod.deleting or view.job(pod.evaluation_uid, pod.attempt) is not None:
        return
    evaluation = view.evaluations.get(pod.evaluation_uid)
    if evaluation is None or evaluation.phase is not Phase.RUNNING or view.own_pod(evaluation) != pod:
        yield DeletePod(pod)
