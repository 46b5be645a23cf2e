"""Free slots go to the first of the queue; starts that are under way go on, whoever began them.

A slot whose attempt is over goes to the next one by the very swap that takes it from the last, or is released.

Claim ──▶ CreateJob ──▶ MarkRunning ──▶ OpenGate one a round, each known to be done by what the API server holds

Between the second and the third the Job controller makes the pod, which is written down before its gate is opened.
"""

from collections.abc import Iterator
from itertools import islice

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.actions import Action, Claim, CreateJob, LookAgain, MarkRunning, OpenGate, PutBack, Release
from lmms_eval_operator.clock import Now, seconds_until
from lmms_eval_operator.derive import Verdict, no_pod_yet, refused_pod
from lmms_eval_operator.objects import Evaluation, Job, Pod
from lmms_eval_operator.plan.contain import each
from lmms_eval_operator.retry import LONGEST_SECONDS
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.view import View


def start(view: View, now: Now) -> Iterator[Action]:
    """Carries on first, then gives out."""

    def carry_on(slot: Slot) -> Iterator[Action]:
        holder = slot.holder
        evaluation = view.evaluations.get(holder.uid) if holder else None
        if holder is not None and evaluation is not None and not view.is_over(slot):
            yield from _carry_on(view, slot, evaluation, holder.attempt)

    yield from each(carry_on, view.slots.values())
    yield from _give_out(view, now)


def held_up(view: View, now: Now) -> dict[str, Verdict]:
    """Those of the queue, by uid, that wait for something else than others before them."""
    return _without_pod(view) | _without_slot(view, now)


def _without_pod(view: View) -> dict[str, Verdict]:
    """Those that have a slot and a Job, and for long no pod: for a moment that is as it should be."""
    starting = [(item, job) for item, job in filter(None, map(view.starting, view.slots.values())) if job.uid in view.notes]
    return {item.uid: Verdict(Phase.QUEUED, Reason.WAITING_FOR_TURN, no_pod_yet(job)) for item, job in starting}


def _without_slot(view: View, now: Now) -> dict[str, Verdict]:
    free = _free_slots(view)
    if free and view.refusals.pause is not None and view.refusals.paused_in(now.monotonic):
        verdict = Verdict(Phase.QUEUED, Reason.QUEUE_PAUSED, view.refusals.pause.message)
    elif not free and (blocked := _blocked(view, now)):
        verdict = Verdict(Phase.QUEUED, Reason.WAITING_FOR_TURN, blocked)
    else:
        return {}
    return {evaluation.uid: verdict for evaluation in islice(_queue(view, now), max(1, len(free)))}


def _blocked(view: View, now: Now) -> str:
    """What does not end in a slot, though its evaluation has ended or is gone; "" if there is no such thing."""
    pods = (pod for pod in view.pods if view.is_left_behind(pod.uid, now.monotonic))
    told = (f"slot {pod.slot} is taken by pod {pod.name}, which has not ended (node {pod.node or 'none yet'})" for pod in pods)
    return next(told, "")


def _free_slots(view: View) -> list[Slot]:
    return [slot for _, slot in sorted(view.slots.items()) if _free(view, slot)]


def _give_out(view: View, now: Now) -> Iterator[Action]:
    free, paused = _free_slots(view), view.refusals.paused_in(now.monotonic)
    given = [] if paused else free[:1] if view.refusals.one_at_a_time else free
    claims = [Claim(slot, evaluation) for slot, evaluation in zip(given, _queue(view, now), strict=False)] if given else []
    yield from claims
    if free and paused:
        yield LookAgain(paused)
    if free:
        yield from (LookAgain(wait) for evaluation in view.evaluations.delayed() if (wait := _due_in(view, evaluation, now)))
    claimed = {claim.slot.index for claim in claims}
    yield from (Release(slot) for slot in view.slots.values() if view.is_over(slot) and slot.index not in claimed)


def _carry_on(view: View, slot: Slot, evaluation: Evaluation, attempt: int) -> Iterator[Action]:
    if evaluation.phase is Phase.RUNNING:
        yield from _let_run(view, slot, evaluation)
    elif evaluation.startable and attempt == evaluation.attempt + 1 and slot.index == _chosen(view, evaluation, attempt):
        yield from _prepare(view, slot, evaluation, attempt)


def _let_run(view: View, slot: Slot, evaluation: Evaluation) -> Iterator[Action]:
    pod = view.own_pod(evaluation)
    here = slot.index == evaluation.slot and slot.holds(evaluation.uid, evaluation.attempt)
    if here and pod is not None and pod.gate is not None and not (pod.deleting or evaluation.stopping):
        yield OpenGate(evaluation, pod)


def _prepare(view: View, slot: Slot, evaluation: Evaluation, attempt: int) -> Iterator[Action]:
    job = view.job(evaluation.uid, attempt)
    if job is None:
        yield CreateJob(slot, evaluation)
    elif job.gated and not job.deleting and (pod := _new_pod(view, job)) is not None:
        yield MarkRunning(evaluation, job, pod) if slot.claimed_at == evaluation.version else Claim(slot, evaluation)
    elif job.uid in view.notes and (cause := refused_pod(view.notes[job.uid].events)):
        # Its Job goes with the slot. The next one is another Job, about which nothing has been said yet.
        yield PutBack(slot, evaluation, cause)


def _new_pod(view: View, job: Job) -> Pod | None:
    """A pod of this very Job that may still run: one of them, should there be several."""
    pods = view.pods_of(job.evaluation_uid, job.attempt)
    return next((pod for pod in pods if pod.job_uid == job.uid and not pod.terminal and not pod.deleting), None)


def _chosen(view: View, evaluation: Evaluation, attempt: int) -> int:
    """Of several slots claimed for one attempt, by two operators, the one that its Job names, else the lowest."""
    job = view.job(evaluation.uid, attempt)
    return job.slot if job is not None else view.slots_of(evaluation, attempt)[0].index


def _free(view: View, slot: Slot) -> bool:
    """Whether its Lease names nobody that is not over, and nothing that names it may run: a slot is free when its GPU is."""
    occupied = any(pod.slot == slot.index and not pod.terminal for pod in view.pods)
    return slot.index < view.concurrency and (slot.register.free or view.is_over(slot)) and not occupied


def _queue(view: View, now: Now) -> Iterator[Evaluation]:
    """Who may start now and has no slot yet, in order."""
    claimed = {slot.holder.uid for slot in view.slots.values() if slot.holder and not view.is_over(slot)}
    return (item for item in view.evaluations.queue() if item.uid not in claimed and not _due_in(view, item, now))


def _due_in(view: View, evaluation: Evaluation, now: Now) -> float:
    """Seconds until its next attempt may start. The time was written by another clock, perhaps: no wait is longer than any is."""
    if not evaluation.next_attempt_at:
        return 0.0
    longest = max(0.0, LONGEST_SECONDS - view.delayed_for(evaluation, now.monotonic))
    return min(seconds_until(evaluation.next_attempt_at, 0, now), longest)
