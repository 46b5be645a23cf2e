"""Slots whose attempt is over, and Jobs that nobody stands behind: after a crash as in everyday life.

`needed` and `releasable` are asked of the view here, and by `apply` of what the API server says the moment before the write.
"""

from collections.abc import Iterator, Sequence

from lmms_eval_core.phases import Phase
from lmms_eval_operator.actions import Action, DeletePod, LookAgain, Release, StopOrphan
from lmms_eval_operator.clock import Now
from lmms_eval_operator.objects import STATE_NEW, Evaluation, Job, Pod
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.view import View


def recover(view: View, now: Now) -> Iterator[Action]:
    """Frees slots, stops orphans."""

    def release_slot(slot: Slot) -> Iterator[Action]:
        return _held(view, slot, now)

    def stop_orphan(job: Job) -> Iterator[Action]:
        return _job(view, job)

    def delete_pod(pod: Pod) -> Iterator[Action]:
        return _pod(view, pod, now)

    # One that this process saw end needs no recovery: `start` takes the slot on.
    yield from each(release_slot, (slot for slot in view.slots.values() if not slot.register.free and not view.is_over(slot)))
    yield from each(stop_orphan, view.jobs)
    yield from each(delete_pod, view.pods)


def needed(evaluation: Evaluation | None, holder: Holder, slot: int) -> bool:
    """Whether the holder is an attempt that runs in this slot, or is about to start."""
    if evaluation is None or evaluation.uid != holder.uid:
        return False
    if evaluation.phase is Phase.RUNNING:
        return holder.attempt == evaluation.attempt and evaluation.slot == slot
    return holder.attempt == evaluation.attempt + 1 and evaluation.startable


def releasable(evaluation: Evaluation | None, job: Job | None, pods: Sequence[Pod], holder: Holder, slot: int) -> bool:
    """Whether nothing of the holder can be in the slot, now or later. `evaluation` is None if it is gone.

    What is missing counts only if it stays missing (`View.settles_in`), unless the Job was never started.
    """
    if needed(evaluation, holder, slot):
        return False
    if evaluation is not None and evaluation.phase is Phase.RUNNING and evaluation.attempt == holder.attempt:
        # It runs in another slot, and this one was claimed beside it.
        return evaluation.uid == holder.uid
    if any(not pod.terminal for pod in pods):
        return False
    return job is None or job.stopped or job.spent or bool(pods)


def never_started(evaluation: Evaluation | None, holder: Holder) -> bool:
    """Whether the holder's attempt did not come as far as step 3, so that its Job has never been started."""
    return evaluation is not None and evaluation.phase is Phase.QUEUED and evaluation.attempt < holder.attempt


def orphan(evaluation: Evaluation | None, job: Job, *, named: bool) -> bool:
    """Whether a Job that may run has nobody behind it: no slot, no evaluation, or not at this point of its life."""
    if not named or evaluation is None:
        return True
    if evaluation.phase is Phase.RUNNING:
        return job.uid != evaluation.job_uid
    return not (evaluation.startable and evaluation.attempt + 1 == job.attempt and job.state == STATE_NEW)


def _held(view: View, slot: Slot, now: Now) -> Iterator[Action]:
    holder = slot.holder
    if holder is None:
        yield Release(slot)
        return
    evaluation = view.evaluations.get(holder.uid)
    job, pods = view.job(holder.uid, holder.attempt), view.pods_of(holder.uid, holder.attempt)
    if not releasable(evaluation, job, pods, holder, slot.index):
        return
    wait = 0.0 if never_started(evaluation, holder) else view.settles_in(holder.uid, holder.attempt, now.monotonic)
    yield LookAgain(wait) if wait else Release(slot)


def _job(view: View, job: Job) -> Iterator[Action]:
    named = view.named(job.slot, job.evaluation_uid, job.attempt)
    if view.may_run(job) and not job.stopped and orphan(view.evaluations.get(job.evaluation_uid), job, named=named):
        yield StopOrphan(job)


def _pod(view: View, pod: Pod, now: Now) -> Iterator[Action]:
    """A pod without a Job is Kubernetes' to delete, as a rule; but not if somebody deleted the Job and left the pod behind."""
    if pod.terminal or pod.deleting or view.job(pod.evaluation_uid, pod.attempt) is not None:
        return
    evaluation = view.evaluations.get(pod.evaluation_uid)
    named = view.named(pod.slot, pod.evaluation_uid, pod.attempt)
    if named and evaluation is not None and not evaluation.unwanted and evaluation.attempt == pod.attempt:
        return
    yield DeletePod(pod)
