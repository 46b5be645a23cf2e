"""The view: what is known of the cluster, in memory. Live evaluations, our Jobs and pods, the slots.

It may be stale, but is never older than our own writes.

Filled by lists (`observe`), by events (`watch`) and by the answers to our own writes (`apply`); read by `plan`.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final, NamedTuple

from lmms_eval_core.kube import client
from lmms_eval_core.kube.client import Object, Resource
from lmms_eval_core.ordering import QueueKey, queue_key
from lmms_eval_core.phases import Phase
from lmms_eval_operator import objects
from lmms_eval_operator.action_failures import ActionFailures
from lmms_eval_operator.derive import derive_queued, find_own_pod, is_in_status
from lmms_eval_operator.objects import AttemptJob, Evaluation, Event, Pod
from lmms_eval_operator.pod_wait import find_silent_uid, is_unreachable
from lmms_eval_operator.refusals import Refusals
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.versioned_collection import Item, VersionedCollection

EVENTS_SECONDS: Final = 5.0
LEFT_BEHIND_SECONDS: Final = 10.0
KEPT_SECONDS: Final = 5.0
# After an outage progress arrives late: longer than the reporter waits between two tries.
STEADY_SECONDS: Final = 60.0


class LiveEvaluations(VersionedCollection[Evaluation]):
    """Those that have not ended.

    Ten thousand may wait: nothing walks over all of them to see that there is nothing to do.
    """

    def __init__(self) -> None:
        super().__init__(lambda item: not item.is_terminal)
        self._unsettled: dict[str, Evaluation] = {}
        self._begun: dict[str, Evaluation] = {}
        self._delayed: dict[str, Evaluation] = {}
        self._queue: list[tuple[QueueKey, Evaluation]] = []
        self._gated: dict[str, Evaluation] = {}
        self._names: dict[str, str] = {}

    def find_named(self, name: str) -> Evaluation | None:
        """Return the one of this name."""
        return self.get(self._names.get(name, ""))

    def list_gated(self) -> list[Evaluation]:
        """Return those whose gate compares with another evaluation."""
        return list(self._gated.values())

    def list_unsettled(self) -> list[Evaluation]:
        """Return all but those that wait in the queue and whose status says so."""
        return list(self._unsettled.values())

    def list_begun(self) -> list[Evaluation]:
        """Return those that had at least one attempt."""
        return list(self._begun.values())

    def list_delayed(self) -> list[Evaluation]:
        """Return those whose next attempt is not to start before a time of its own."""
        return list(self._delayed.values())

    def iterate_queue(self) -> Iterator[Evaluation]:
        """Yield those that may start, in order."""
        return (item for _, item in self._queue)

    def _keep(self, item: Evaluation) -> None:
        known = self._drop(item.uid)
        item = replace(item, first_seen=known.first_seen) if known else item
        super()._keep(item)
        if item.is_startable:
            insort(self._queue, (_make_queue_key(item), item), key=itemgetter(0))
        if item.phase is not Phase.QUEUED or item.is_unwanted or not is_in_status(item, derive_queued(item)):
            self._unsettled[item.uid] = item
        self._names[item.name] = item.uid
        if item.baseline:
            self._gated[item.uid] = item
        if item.attempt:
            self._begun[item.uid] = item
        if item.next_attempt_at:
            self._delayed[item.uid] = item

    def _drop(self, uid: str) -> Evaluation | None:
        known = super()._drop(uid)
        if known is not None:
            self._unsettled.pop(uid, None)
            self._begun.pop(uid, None)
            self._delayed.pop(uid, None)
            self._gated.pop(uid, None)
            if self._names.get(known.name) == uid:
                del self._names[known.name]
            self._leave_queue(known)
        return known

    def _leave_queue(self, item: Evaluation) -> None:
        index = bisect_left(self._queue, _make_queue_key(item), key=itemgetter(0))
        if index < len(self._queue) and self._queue[index][1].uid == item.uid:
            del self._queue[index]


def _make_queue_key(item: Evaluation) -> QueueKey:
    return queue_key(item, first_seen=item.first_seen)


class KnownEvents(NamedTuple):
    """Events of one pod or Job, and when they were read (monotonic)."""

    read_at: float
    events: tuple[Event, ...]


# By uid: what something was when it was last seen, and since when (monotonic) it has been seen so.
Sightings = dict[str, tuple[object, float]]


@dataclass
class View:
    """Everything that is known of the cluster."""

    concurrency: int = 1
    """Slots that may be given out. Others, of a larger past, only run out."""
    steady_seconds: float = STEADY_SECONDS
    """How long an operator listens before it takes silence for a stall."""
    evaluations: LiveEvaluations = field(default_factory=LiveEvaluations)
    jobs: VersionedCollection[AttemptJob] = field(default_factory=VersionedCollection)
    pods: VersionedCollection[Pod] = field(default_factory=VersionedCollection)
    slots: dict[int, Slot] = field(default_factory=dict)
    ended_attempts: set[tuple[str, int]] = field(default_factory=set)
    """Attempts (uid, number) in a slot that this process ended by a write that had not met another: that stays true."""
    returned_leases: set[tuple[int, str]] = field(default_factory=set)
    """Leases (slot, version) whose attempt this process put back into the queue: true until somebody claims the slot
    again.
    """
    failures: ActionFailures = field(default_factory=ActionFailures)
    refusals: Refusals = field(default_factory=Refusals)
    pod_events: dict[str, KnownEvents] = field(default_factory=dict)
    _silent_since: dict[str, float] = field(default_factory=dict)
    _steady_since: dict[str, float] = field(default_factory=dict)
    _left_behind_since: dict[str, float] = field(default_factory=dict)
    _kept_since: dict[str, float] = field(default_factory=dict)
    _progress: Sightings = field(default_factory=dict)
    _delays: Sightings = field(default_factory=dict)

    def learn(self, resource: Resource, deleted: bool, item: Object) -> bool:
        """Take the object of an event; return whether that was news."""
        match resource:
            case client.EVALUATIONS:
                return _put_or_remove(self.evaluations, objects.parse_evaluation(item), deleted)
            case client.JOBS:
                return _put_or_remove(self.jobs, objects.parse_job(item), deleted)
            case client.PODS:
                return _put_or_remove(self.pods, objects.parse_pod(item), deleted)
            case _:
                return False

    def find_job(self, uid: str, attempt: int) -> AttemptJob | None:
        """Return the Job of an attempt."""
        return next((job for job in self.jobs if (job.evaluation_uid, job.attempt) == (uid, attempt)), None)

    def find_current_job(self, evaluation: Evaluation) -> AttemptJob | None:
        """Return the Job that a running evaluation's status names; not another one of the same name."""
        return self.jobs.get(evaluation.job_uid)

    def list_pods(self, uid: str, attempt: int) -> list[Pod]:
        """Return the pods of an attempt."""
        return [pod for pod in self.pods if (pod.evaluation_uid, pod.attempt) == (uid, attempt)]

    def find_own_pod(self, evaluation: Evaluation) -> Pod | None:
        """Return the pod that runs the current attempt of a running evaluation."""
        return find_own_pod(evaluation, self.list_pods(evaluation.uid, evaluation.attempt))

    def is_slot_held_by(self, slot: int, uid: str, attempt: int) -> bool:
        """Return whether the slot's Lease names this attempt."""
        return slot in self.slots and self.slots[slot].is_held_by(uid, attempt)

    def is_in_its_slot(self, evaluation: Evaluation) -> bool:
        """Return whether the slot of a running evaluation is given to it."""
        return evaluation.slot is not None and self.is_slot_held_by(evaluation.slot, evaluation.uid, evaluation.attempt)

    def find_starting(self, slot: Slot) -> tuple[Evaluation, AttemptJob] | None:
        """Return the queued evaluation that the slot is held for and the Job of its next attempt, if that has no pod
        yet.
        """
        evaluation = self.evaluations.get(slot.holder.uid) if slot.holder and not self.has_ended_attempt(slot) else None
        if (
            evaluation is None
            or not evaluation.is_startable
            or not slot.is_held_by(evaluation.uid, evaluation.attempt + 1)
        ):
            return None
        job = self.find_job(evaluation.uid, evaluation.attempt + 1)
        return (evaluation, job) if job is not None and not self.list_pods(evaluation.uid, job.attempt) else None

    def has_ended_attempt(self, slot: Slot) -> bool:
        """Return whether this process ended the attempt that the slot's Lease names, or put it back into the queue."""
        if (slot.index, slot.register.resource_version) in self.returned_leases:
            return True
        return slot.holder is not None and (slot.holder.uid, slot.holder.attempt) in self.ended_attempts

    def list_slots(self, evaluation: Evaluation, attempt: int) -> list[Slot]:
        """Return the slots whose Lease names this attempt, lowest first."""
        return [slot for _, slot in sorted(self.slots.items()) if slot.is_held_by(evaluation.uid, attempt)]

    def refresh(self, now: float) -> None:
        """Update since when attempts have been steady or silent, and drop what is of no use any more; call before each
        plan.
        """
        running = [item for item in self.evaluations.list_unsettled() if item.job_uid]
        holders = [slot.holder for slot in self.slots.values() if slot.holder]
        self.ended_attempts &= {(holder.uid, holder.attempt) for holder in holders}
        self.returned_leases &= {(slot.index, slot.register.resource_version) for slot in self.slots.values()}
        self.refusals.keep_only(self.evaluations)
        self.failures.forget_old(now)
        silent = {find_silent_uid(pod) for item in running if (pod := self.find_own_pod(item))}
        silent |= {job.uid for slot in self.slots.values() for _, job in filter(None, [self.find_starting(slot)])}
        silent -= {""}
        self._silent_since = {uid: self._silent_since.get(uid, now) for uid in silent}
        steady = {item.uid for item in running if not any(map(is_unreachable, self.list_pods(item.uid, item.attempt)))}
        self._steady_since = {uid: self._steady_since.get(uid, now) for uid in steady}
        self.pod_events = {uid: pod_events for uid, pod_events in self.pod_events.items() if uid in silent}
        self._progress = _update_sightings(
            self._progress, ((item.uid, _make_progress_key(item)) for item in running), now
        )
        self._delays = _update_sightings(
            self._delays, ((item.uid, item.next_attempt_at) for item in self.evaluations.list_delayed()), now
        )
        kept = (pod.uid for pod in self.pods if pod.keeping_container)
        self._kept_since = {uid: self._kept_since.get(uid, now) for uid in kept}
        self._left_behind_since = {uid: self._left_behind_since.get(uid, now) for uid in self._list_left_behind()}

    def _list_left_behind(self) -> Iterator[str]:
        """Yield the uids of pods that may run for an evaluation that has ended or is gone."""
        yield from (pod.uid for pod in self.pods if not pod.is_terminal and pod.evaluation_uid not in self.evaluations)

    def forget_times(self) -> None:
        """Forget since when things are as they are: another operator has been at work."""
        self._silent_since.clear()
        self._steady_since.clear()
        self._left_behind_since.clear()
        self._kept_since.clear()
        self._progress.clear()
        self._delays.clear()
        self.pod_events.clear()
        self.failures.clear()

    def record_outage(self) -> None:
        """Record that the API server did not answer: no evaluation has been seen steadily since."""
        self._steady_since.clear()

    def seconds_until_steady(self, uid: str, now: float) -> float:
        """Seconds until node and API server have been there long enough for the progress of a running evaluation to
        arrive.
        """
        return max(0.0, self._steady_since.get(uid, now) + self.steady_seconds - now)

    def forget_history(self) -> None:
        """Forget what this process did or saw: the API server's storage was restored from a backup."""
        self.ended_attempts.clear()
        self.returned_leases.clear()
        self.forget_times()

    def seconds_without_progress(self, evaluation: Evaluation, now: float) -> float:
        """Seconds for which this process has seen no progress of a running evaluation.

        By its own clock: what a node writes into `progress.updatedAt` may be minutes off.
        """
        known = self._progress.get(evaluation.uid)
        return now - known[1] if known and known[0] == _make_progress_key(evaluation) else 0.0

    def seconds_delayed(self, evaluation: Evaluation, now: float) -> float:
        """Seconds for which this process has seen an evaluation wait for this time of its next attempt."""
        known = self._delays.get(evaluation.uid)
        return now - known[1] if known and known[0] == evaluation.next_attempt_at else 0.0

    def seconds_until_stopped(self, uid: str, now: float) -> float:
        """Seconds for which a pod whose evaluator has ended is left alone: its other containers may end
        by themselves.
        """
        return max(0.0, self._kept_since.get(uid, now) + KEPT_SECONDS - now)

    def is_left_behind(self, uid: str, now: float) -> bool:
        """Return whether a pod has outlived its evaluation for longer than ending it usually takes."""
        return uid in self._left_behind_since and now - self._left_behind_since[uid] >= LEFT_BEHIND_SECONDS

    def seconds_until_events_due(self, uid: str, now: float) -> float:
        """Seconds until the events of a silent pod or Job should be read.

        Not at once: most are on their way in a moment.
        """
        last = self.pod_events[uid].read_at if uid in self.pod_events else self._silent_since.get(uid, now)
        return max(0.0, last + EVENTS_SECONDS - now)


def _make_progress_key(evaluation: Evaluation) -> tuple[object, ...]:
    return evaluation.attempt, evaluation.reported_attempt, evaluation.stage, evaluation.progressed_at


def _update_sightings(known: Sightings, items: Iterable[tuple[str, object]], now: float) -> Sightings:
    """Return what each is now; the time is kept where it has not changed."""
    return {uid: known[uid] if uid in known and known[uid][0] == value else (value, now) for uid, value in items}


def _put_or_remove(collection: VersionedCollection[Item], item: Item | None, deleted: bool) -> bool:
    if item is None:
        return False
    return collection.remove(item.uid, item.version) if deleted else collection.put(item)
