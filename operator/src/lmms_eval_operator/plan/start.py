"""Gives free slots to the first of the queue, and carries on starts that are under way, whoever began them.

A slot whose attempt is over goes to the next one by the very swap that takes it from the last, or is released.

    Claim ──▶ CreateJob ──▶ MarkRunning ──▶ OpenGate

One of them a round, each known to be done by what the API server holds.

Between the second and the third the Job controller makes the pod, which is written down before its gate is opened.
"""

from collections.abc import Iterator
from itertools import islice

from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator.actions import Action, Claim, CreateJob, LookAgain, MarkRunning, OpenGate, PutBack, Release
from lmms_eval_operator.clock import Now, seconds_until
from lmms_eval_operator.derive import LONGEST_WAIT_SECONDS, Derived, explain_missing_pod, find_pod_refusal
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod
from lmms_eval_operator.plan.baselines import derive_without_baseline, is_waiting_for_baseline
from lmms_eval_operator.plan.contain import apply_to_each
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.view import View


def start(view: View, now: Now) -> Iterator[Action]:
    """Carry on starts first, then give out free slots."""

    def carry_on(slot: Slot) -> Iterator[Action]:
        holder = slot.holder
        evaluation = view.evaluations.get(holder.uid) if holder else None
        if holder is not None and evaluation is not None and not view.has_ended_attempt(slot):
            yield from _carry_on(view, slot, evaluation, holder.attempt)

    yield from apply_to_each(carry_on, view.slots.values())
    yield from _give_out(view, now)


def derive_held_up(view: View, now: Now) -> dict[str, Derived]:
    """Return, by uid, those of the queue that wait for something else than others before them."""
    return _derive_without_pod(view) | _derive_without_slot(view, now) | derive_without_baseline(view)


def _derive_without_pod(view: View) -> dict[str, Derived]:
    """Return those that have a slot and a Job, and for long no pod: for a moment that is normal."""
    starting = filter(None, map(view.find_starting, view.slots.values()))
    return {
        item.uid: Derived(Phase.QUEUED, Reason.WAITING_FOR_TURN, explain_missing_pod(job))
        for item, job in starting
        if job.uid in view.pod_events
    }


def _derive_without_slot(view: View, now: Now) -> dict[str, Derived]:
    free = _list_free_slots(view)
    if free and view.refusals.pause is not None and view.refusals.seconds_until_unpaused(now.monotonic):
        derived = Derived(Phase.QUEUED, Reason.QUEUE_PAUSED, view.refusals.pause.message)
    elif not free and (blocked := _explain_blocked(view, now)):
        derived = Derived(Phase.QUEUED, Reason.WAITING_FOR_TURN, blocked)
    else:
        return {}
    return {evaluation.uid: derived for evaluation in islice(_iterate_startable(view, now), max(1, len(free)))}


def _explain_blocked(view: View, now: Now) -> str:
    """Return what does not end in a slot, though its evaluation has ended or is gone; "" if there is no such thing."""
    pods = (pod for pod in view.pods if view.is_left_behind(pod.uid, now.monotonic))
    messages = (
        f"slot {pod.slot} is taken by pod {pod.name}, which has not ended (node {pod.node or 'none yet'})"
        for pod in pods
    )
    return next(messages, "")


def _list_free_slots(view: View) -> list[Slot]:
    return [slot for _, slot in sorted(view.slots.items()) if _is_free(view, slot)]


def _give_out(view: View, now: Now) -> Iterator[Action]:
    free, paused = _list_free_slots(view), view.refusals.seconds_until_unpaused(now.monotonic)
    given = [] if paused else free[:1] if view.refusals.one_at_a_time else free
    claims = (
        [Claim(slot, evaluation) for slot, evaluation in zip(given, _iterate_startable(view, now), strict=False)]
        if given
        else []
    )
    yield from claims
    if free and paused:
        yield LookAgain(paused)
    if free:
        yield from (
            LookAgain(wait)
            for evaluation in view.evaluations.list_delayed()
            if (wait := _seconds_until_due(view, evaluation, now))
        )
    claimed = {claim.slot.index for claim in claims}
    yield from (
        Release(slot) for slot in view.slots.values() if view.has_ended_attempt(slot) and slot.index not in claimed
    )


def _carry_on(view: View, slot: Slot, evaluation: Evaluation, attempt: int) -> Iterator[Action]:
    if evaluation.phase is Phase.RUNNING:
        yield from _open_gate(view, slot, evaluation)
    elif (
        evaluation.is_startable
        and attempt == evaluation.attempt + 1
        and slot.index == _choose_slot(view, evaluation, attempt)
    ):
        yield from _prepare(view, slot, evaluation, attempt)


def _open_gate(view: View, slot: Slot, evaluation: Evaluation) -> Iterator[Action]:
    pod = view.find_own_pod(evaluation)
    here = slot.index == evaluation.slot and slot.is_held_by(evaluation.uid, evaluation.attempt)
    if here and pod is not None and pod.gate is not None and not (pod.deleting or evaluation.is_stopping):
        yield OpenGate(evaluation, pod)


def _prepare(view: View, slot: Slot, evaluation: Evaluation, attempt: int) -> Iterator[Action]:
    job = view.find_job(evaluation.uid, attempt)
    if job is None:
        yield CreateJob(slot, evaluation)
    elif job.gated and not job.deleting and (pod := _find_new_pod(view, job)) is not None:
        yield MarkRunning(evaluation, job, pod) if slot.claimed_at == evaluation.version else Claim(slot, evaluation)
    elif job.uid in view.pod_events and (cause := find_pod_refusal(view.pod_events[job.uid].events)):
        # Its Job goes with the slot. The next one is another Job, about which no event was read yet.
        yield PutBack(slot, evaluation, cause)


def _find_new_pod(view: View, job: AttemptJob) -> Pod | None:
    """Return a pod of this very Job that may still run: one of them, should there be several."""
    pods = view.list_pods(job.evaluation_uid, job.attempt)
    return next((pod for pod in pods if pod.job_uid == job.uid and not pod.is_terminal and not pod.deleting), None)


def _choose_slot(view: View, evaluation: Evaluation, attempt: int) -> int:
    """Return, of several slots claimed for one attempt by two operators, the one that its Job names,
    else the lowest.
    """
    job = view.find_job(evaluation.uid, attempt)
    return job.slot if job is not None else view.list_slots(evaluation, attempt)[0].index


def _is_free(view: View, slot: Slot) -> bool:
    """Return whether its Lease names no attempt that is not over, and no pod in it can run: a slot is free when its GPU
    is.
    """
    occupied = any(pod.slot == slot.index and not pod.is_terminal for pod in view.pods)
    return slot.index < view.concurrency and (slot.register.free or view.has_ended_attempt(slot)) and not occupied


def _iterate_startable(view: View, now: Now) -> Iterator[Evaluation]:
    """Yield the evaluations that may start now and have no slot yet, in order."""
    claimed = {slot.holder.uid for slot in view.slots.values() if slot.holder and not view.has_ended_attempt(slot)}
    return (
        item
        for item in view.evaluations.iterate_queue()
        if item.uid not in claimed
        and not _seconds_until_due(view, item, now)
        and not is_waiting_for_baseline(view, item)
    )


def _seconds_until_due(view: View, evaluation: Evaluation, now: Now) -> float:
    """Seconds until its next attempt may start: no longer than any wait, as the time may be of a clock
    that is wrong.
    """
    if not evaluation.next_attempt_at:
        return 0.0
    longest = max(0.0, LONGEST_WAIT_SECONDS - view.seconds_delayed(evaluation, now.monotonic))
    return min(seconds_until(evaluation.next_attempt_at, 0, now), longest)
