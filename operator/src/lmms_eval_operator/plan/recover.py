"""Frees slots whose attempt is over, and ends Jobs, pods and runs that belong to none: after a crash as in everyday
life.

`is_releasable` and `is_orphan` are called for the view here, and by `apply` for what the API server says right before
the write.
"""

from collections.abc import Iterator, Sequence

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.actions import Action, DeleteJob, DeletePod, ExpireJob, Release, Stop
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod, is_job_done
from lmms_eval_operator.plan.contain import apply_to_each
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.view import View


def recover(view: View, now: Now) -> Iterator[Action]:
    """Free slots, end runs that are in none, delete orphans."""

    def release_slot(slot: Slot) -> Iterator[Action]:
        return _release(view, slot)

    def end_strayed(evaluation: Evaluation) -> Iterator[Action]:
        return _stop_strayed(view, evaluation)

    def delete_orphan(job: AttemptJob) -> Iterator[Action]:
        return _delete_orphan_job(view, job)

    def delete_pod(pod: Pod) -> Iterator[Action]:
        return _delete_orphan_pod(view, pod)

    # One that this process saw end needs no recovery: `start` takes the slot on.
    held = (slot for slot in view.slots.values() if not slot.register.free and not view.has_ended_attempt(slot))
    yield from apply_to_each(release_slot, held)
    yield from apply_to_each(end_strayed, view.evaluations.list_unsettled())
    yield from apply_to_each(delete_orphan, view.jobs)
    yield from apply_to_each(delete_pod, view.pods)


def expire_jobs(view: View, now: Now) -> Iterator[Action]:
    """Let Kubernetes delete Jobs some time after their end: they stay a while for `kubectl logs`."""

    def expire(job: AttemptJob) -> Iterator[Action]:
        evaluation = view.evaluations.get(job.evaluation_uid)
        current = evaluation is not None and evaluation.job_uid == job.uid
        named = view.is_slot_held_by(job.slot, job.evaluation_uid, job.attempt)
        done = is_job_done(job, view.list_pods(job.evaluation_uid, job.attempt))
        if done and not (current or named or job.deleting or job.expires):
            yield ExpireJob(job)

    return apply_to_each(expire, view.jobs)


def is_needed(evaluation: Evaluation | None, holder: Holder, slot: int) -> bool:
    """Return whether the holder is an attempt that runs in this slot, or is about to start."""
    if evaluation is None or evaluation.uid != holder.uid:
        return False
    if evaluation.phase is Phase.RUNNING:
        return holder.attempt == evaluation.attempt and evaluation.slot == slot
    return holder.attempt == evaluation.attempt + 1 and evaluation.is_startable


def is_releasable(evaluation: Evaluation | None, pods: Sequence[Pod], holder: Holder, slot: int) -> bool:
    """Return whether nothing of the holder can be in the slot, now or later. `evaluation` is None if it is gone.

    A pod behind our gate counts as well: a status may name it, and another operator may be about to open it. One that
    the Job controller makes later is named by none, so that nobody opens it.
    """
    if is_needed(evaluation, holder, slot):
        return False
    if evaluation is not None and evaluation.phase is Phase.RUNNING and evaluation.attempt == holder.attempt:
        # It runs in another slot, and this one was claimed beside it.
        return evaluation.uid == holder.uid
    return all(pod.is_terminal for pod in pods)


def is_orphan(evaluation: Evaluation | None, job: AttemptJob, pods: Sequence[Pod], *, named: bool) -> bool:
    """Return whether a Job belongs to no slot and no evaluation, or not at this point of its life.

    One that has ended is none, as it keeps the logs; but of an attempt that is to start it would be in the way.
    """
    over = is_job_done(job, pods)
    if evaluation is not None and evaluation.phase is Phase.QUEUED and evaluation.attempt + 1 == job.attempt:
        return over or not (named and evaluation.is_startable and job.gated)
    current = evaluation is not None and evaluation.phase is Phase.RUNNING and job.uid == evaluation.job_uid
    return not (over or current)


def _release(view: View, slot: Slot) -> Iterator[Action]:
    holder = slot.holder
    if holder is None:
        yield Release(slot)
        return
    evaluation, pods = view.evaluations.get(holder.uid), view.list_pods(holder.uid, holder.attempt)
    if is_releasable(evaluation, pods, holder, slot.index):
        yield Release(slot)


def _stop_strayed(view: View, evaluation: Evaluation) -> Iterator[Action]:
    """Stop a run whose slot is not its own any more: somebody deleted or changed its Lease."""
    if evaluation.phase is Phase.RUNNING and not evaluation.is_stopping and not view.is_in_its_slot(evaluation):
        yield Stop(evaluation, Reason.INTERRUPTED)


def _delete_orphan_job(view: View, job: AttemptJob) -> Iterator[Action]:
    named = view.is_slot_held_by(job.slot, job.evaluation_uid, job.attempt)
    pods = view.list_pods(job.evaluation_uid, job.attempt)
    if not job.deleting and is_orphan(view.evaluations.get(job.evaluation_uid), job, pods, named=named):
        yield DeleteJob(job)


def _delete_orphan_pod(view: View, pod: Pod) -> Iterator[Action]:
    """Delete a pod without a Job. Kubernetes does so, unless somebody deleted the Job and left the pod behind."""
    if pod.is_terminal or pod.deleting or view.find_job(pod.evaluation_uid, pod.attempt) is not None:
        return
    evaluation = view.evaluations.get(pod.evaluation_uid)
    if evaluation is None or evaluation.phase is not Phase.RUNNING or view.find_own_pod(evaluation) != pod:
        yield DeletePod(pod)
