"""Actions to API calls, each write with its precondition. The answer goes into the view at once, so the next plan knows
of it.

A precondition that fails is a Conflict: `plan` looked at something old, and nothing was done. `reconcile` then calls
`look_again`.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from lmms_eval_core import names
from lmms_eval_core.evaluation import LMMEvaluation
from lmms_eval_core.kube import errors, lease
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, KubeClient, Object, Patch
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator import job_manifest, objects, patches
from lmms_eval_operator.actions import (
    Action,
    Claim,
    CreateJob,
    DeleteJob,
    DeletePod,
    EndPod,
    EndQueued,
    ExpireJob,
    Finish,
    LookAgain,
    MarkRunning,
    OpenGate,
    PutBack,
    ReadEvents,
    Release,
    Report,
    Stop,
    TellDefect,
)
from lmms_eval_operator.derive import Derived, compute_next_attempt_at, derive, derive_with_message, is_in_status
from lmms_eval_operator.gpus import CannotRun
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.plan.recover import is_orphan, is_releasable
from lmms_eval_operator.refusals import digest_spec, is_about_object
from lmms_eval_operator.settings import Settings
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.structured_log import log_fields
from lmms_eval_operator.transitions import Listener
from lmms_eval_operator.view import View

log = logging.getLogger(__name__)


class Executor:
    """Does actions. `time` is the time of day, `clock` is monotonic, `on_status_written` must not block."""

    def __init__(
        self,
        client: KubeClient,
        view: View,
        settings: Settings,
        *,
        time: Callable[[], datetime],
        clock: Callable[[], float],
        on_status_written: Listener = lambda before, after: None,
    ) -> None:
        self._client = client
        self._view = view
        self._settings = settings
        self._time = time
        self._clock = clock
        self._on_status_written = on_status_written
        self._observer = Observer(client, view)
        self._handlers: dict[type, Callable[[Any], Awaitable[None]]] = {
            Claim: self._claim,
            CreateJob: self._create_job,
            PutBack: self._put_back,
            MarkRunning: self._mark_running,
            OpenGate: self._open_gate,
            Stop: self._stop,
            DeletePod: self._delete_pod,
            EndPod: self._end_pod,
            DeleteJob: self._delete_job,
            ExpireJob: self._expire_job,
            Report: self._report,
            EndQueued: self._end_queued,
            Finish: self._finish,
            Release: self._release,
            ReadEvents: self._read_events,
            TellDefect: self._tell_defect,
        }

    async def apply(self, action: Action) -> None:
        """Do the action. Raises KubeError: Conflict or NotFound if the precondition does not hold."""
        if not isinstance(action, LookAgain):
            await self._handlers[type(action)](action)

    async def look_again(self, action: Action) -> None:
        """Read again what the action is about. Raises KubeError."""
        match action:
            case Claim(slot=slot) | Release(slot=slot):
                await self._observer.read_slots()
                if slot.holder is not None:
                    await self._read_attempt(*slot.holder)
                if isinstance(action, Claim):
                    await self._observer.read_evaluation(action.evaluation.name, action.evaluation.uid)
            case CreateJob(evaluation=evaluation) | PutBack(evaluation=evaluation):
                await self._read_attempt(evaluation.name, evaluation.uid, evaluation.attempt + 1)
            case MarkRunning(evaluation=evaluation, job=job):
                await self._read_attempt(evaluation.name, evaluation.uid, job.attempt)
            case DeleteJob(job=job) | ExpireJob(job=job):
                await self._read_attempt(job.evaluation, job.evaluation_uid, job.attempt)
            case DeletePod(pod=pod):
                await self._observer.read_pods(pod.evaluation_uid, pod.attempt)
            case OpenGate(evaluation=evaluation) | EndPod(evaluation=evaluation) | Stop(evaluation=evaluation):
                await self._read_attempt(evaluation.name, evaluation.uid, evaluation.attempt)
            case Finish(evaluation=evaluation) | Report(evaluation=evaluation):
                await self._read_attempt(evaluation.name, evaluation.uid, evaluation.attempt)
            case EndQueued(evaluation=evaluation):
                await self._observer.read_evaluation(evaluation.name, evaluation.uid)
            case _:
                pass

    async def _read_attempt(self, name: str, uid: str, attempt: int) -> None:
        await self._observer.read_attempt(name, uid, attempt)

    # The start, step by step.

    async def _claim(self, action: Claim) -> None:
        evaluation, slot = action.evaluation, action.slot
        holder = Holder(evaluation.name, evaluation.uid, evaluation.attempt + 1)
        register = await lease.swap(self._client, slot.register, str(holder))
        self._view.slots[slot.index] = Slot(slot.index, register, claimed_at=evaluation.version)

    async def _create_job(self, action: CreateJob) -> None:
        found = await self._read_startable(action.evaluation)
        evaluation = objects.parse_evaluation(found)
        try:
            body = self._build_job(found, evaluation.attempt + 1, action.slot.index)
            self._put_job(await self._client.create(JOBS, body))
            self._view.refusals.record_success(evaluation.uid)
        except errors.AlreadyExists:
            await self._adopt(evaluation)
        except CannotRun as error:
            await self.refuse(evaluation, str(error))
        except (errors.Invalid, errors.Forbidden, errors.NotAdmitted) as error:
            if is_about_object(error):
                await self.refuse(evaluation, error.message)
            else:
                await self._requeue(found, action.slot, "Job", error.message)

    async def _read_startable(self, expected: objects.Evaluation) -> Object:
        """Return the live evaluation.

        Raises Conflict if its next attempt is not the expected one, or is not to start.
        """
        found = await self._client.get(EVALUATIONS, expected.name)
        evaluation = objects.parse_evaluation(found)
        self._view.evaluations.put(evaluation)
        if evaluation.uid != expected.uid or not evaluation.is_startable or evaluation.attempt != expected.attempt:
            raise errors.Conflict(f"{expected.name} is not to be started any more")
        return found

    def _build_job(self, found: Object, attempt: int, slot: int) -> Object:
        try:
            # Of the status nothing is needed: what does not parse there is no fault of the spec.
            parsed = LMMEvaluation.parse({"metadata": found["metadata"], "spec": found["spec"]})
            return job_manifest.build_job(parsed, attempt=attempt, slot=slot, settings=self._settings)
        except ValidationError as error:
            raise CannotRun(f"the spec is not valid for this version of the operator: {error}") from error

    async def _adopt(self, evaluation: objects.Evaluation) -> None:
        """Take the Job of this attempt that we, or another operator, created before."""
        name = names.job_name(evaluation=evaluation.name, uid=evaluation.uid, attempt=evaluation.attempt + 1)
        found = objects.parse_job(await self._client.get(JOBS, name))
        if found is None or found.evaluation_uid != evaluation.uid:
            await self.refuse(
                evaluation, f"a Job named {name} exists that is not this evaluation's: delete it and create this again"
            )
        else:
            self._view.jobs.put(found)

    async def _put_back(self, action: PutBack) -> None:
        await self._requeue(await self._read_startable(action.evaluation), action.slot, "pod", action.cause)

    async def _requeue(self, found: Object, slot: Slot, what: str, cause: str) -> None:
        """Write that the cluster does not take Job or pod: the evaluation stays queued, and its slot goes to the next
        one.
        """
        evaluation = objects.parse_evaluation(found)
        wait = self._view.refusals.record_refusal(
            evaluation.uid, spec=digest_spec(found["spec"]), message=cause, now=self._clock()
        )
        message = f"the cluster refused the {what}, which is tried again after status.nextAttemptAt: {cause}"
        derived = Derived(Phase.QUEUED, Reason.JOB_REFUSED, message)
        due = format_rfc3339(self._time() + timedelta(seconds=wait))
        await self._write_status(evaluation, patches.build_put_back(evaluation, derived, due))
        self._view.returned_leases.add((slot.index, slot.register.resource_version))

    async def report_failure(self, uid: str, message: str) -> None:
        """Write what could not be done for an evaluation that has not ended into its message. Raises KubeError."""
        evaluation = self._view.evaluations.get(uid)
        if evaluation is not None and not is_in_status(evaluation, derived := derive_with_message(evaluation, message)):
            await self._write_status(evaluation, patches.build_report(evaluation, derived))

    async def refuse(self, evaluation: objects.Evaluation, message: str) -> None:
        """End an evaluation of which no Job can be made. Raises KubeError."""
        await self._end_before_start(evaluation, Derived(Phase.FAILED, Reason.INVALID_SPEC, message))

    async def _end_before_start(self, evaluation: objects.Evaluation, derived: Derived) -> None:
        """End an evaluation before its next attempt, which may have a slot and a Job by now, and cannot
        start any more.
        """
        await self._write_end(evaluation, derived)
        self._view.ended_attempts.add((evaluation.uid, evaluation.attempt + 1))

    async def _mark_running(self, action: MarkRunning) -> None:
        patch = patches.build_running(action.evaluation, action.job, action.pod, format_rfc3339(self._time()))
        try:
            await self._write_status(action.evaluation, patch)
        except errors.Invalid as error:
            if not is_about_object(error):
                raise
            await self.refuse(action.evaluation, f"its start cannot be written into its status: {error.message}")

    async def _open_gate(self, action: OpenGate) -> None:
        opened = objects.parse_pod(
            await self._client.json_patch(PODS, action.pod.name, patches.build_open_gate(action.pod))
        )
        if opened is not None:
            self._view.pods.put(opened)

    # The end.

    async def _stop(self, action: Stop) -> None:
        evaluation = action.evaluation
        if action.reason is Reason.INTERRUPTED:
            await self._observer.read_slots()
            if self._view.is_in_its_slot(evaluation):
                raise errors.Conflict(f"{evaluation.name} is in its slot")
        await self._write_status(evaluation, patches.build_stop(evaluation, action.reason))

    async def _delete_pod(self, action: DeletePod) -> None:
        pod = action.pod
        jobs = await self._client.list(JOBS, label_selector=f"{names.LABEL_EVALUATION_UID}={pod.evaluation_uid}")
        if any((job := objects.parse_job(item)) and job.attempt == pod.attempt for item in jobs.items):
            raise errors.Conflict(f"{pod.name} has a Job")
        await self._client.delete(PODS, pod.name, uid=pod.uid)
        await self._observer.read_pods(pod.evaluation_uid, pod.attempt)

    async def _end_pod(self, action: EndPod) -> None:
        """Delete the pod: the kubelet ends the reporter last, which has its time to publish."""
        pod = action.pod
        await self._client.delete(PODS, pod.name, uid=pod.uid)
        await self._observer.read_pods(pod.evaluation_uid, pod.attempt)

    async def _delete_job(self, action: DeleteJob) -> None:
        job = action.job
        await self._observer.read_slots()
        live = await self._observer.read_attempt(job.evaluation, job.evaluation_uid, job.attempt)
        named = self._view.is_slot_held_by(job.slot, job.evaluation_uid, job.attempt)
        if (
            live.job is None
            or live.job.uid != job.uid
            or not is_orphan(_ignore_ended(live.evaluation), live.job, live.pods, named=named)
        ):
            raise errors.Conflict(f"{job.name} is no orphan")
        await self._client.delete(JOBS, job.name, uid=job.uid)
        self._view.jobs.forget(job.uid)

    async def _expire_job(self, action: ExpireJob) -> None:
        await self._write_job(action.job, patches.build_expire_job(action.job, self._settings.job_ttl_seconds))

    async def _end_queued(self, action: EndQueued) -> None:
        await self._end_before_start(action.evaluation, action.derived)

    async def _finish(self, action: Finish) -> None:
        expected = action.evaluation
        live = await self._observer.read_attempt(expected.name, expected.uid, expected.attempt)
        evaluation = live.evaluation
        if evaluation is None or evaluation.phase is not Phase.RUNNING or evaluation.attempt != expected.attempt:
            raise errors.Conflict(f"{expected.name} is not running attempt {expected.attempt} any more")
        job = live.job if live.job is not None and live.job.uid == evaluation.job_uid else None
        derived = derive(evaluation, job, live.pods)
        if not derived.has_ended:
            raise errors.Conflict(f"{expected.name} is still running")
        await self._write_end(evaluation, derived)
        self._view.ended_attempts.add((evaluation.uid, evaluation.attempt))

    async def _write_end(self, evaluation: objects.Evaluation, derived: Derived) -> None:
        """Write the end of an evaluation or of its attempt; without foreign texts if the API server finds those
        invalid.
        """
        try:
            await self._write_status(evaluation, self._build_end_patch(evaluation, derived))
        except errors.Invalid as error:
            log.error("an end was refused", extra=log_fields(evaluation=evaluation.name, cause=error.message))
            await self._write_status(
                evaluation, self._build_end_patch(*patches.drop_foreign_texts(evaluation, derived))
            )

    def _build_end_patch(self, evaluation: objects.Evaluation, derived: Derived) -> Patch:
        now = self._time()
        if derived.phase is not Phase.QUEUED:
            return patches.build_end(evaluation, derived, format_rfc3339(now))
        first = self._settings.retry_backoff_seconds
        due = compute_next_attempt_at(evaluation, free=derived.free, first_seconds=first, now=now)
        return patches.build_retry(evaluation, derived, format_rfc3339(now), due)

    async def _release(self, action: Release) -> None:
        slot, holder = action.slot, action.slot.holder
        if holder is not None and not self._view.has_ended_attempt(slot):
            live = await self._observer.read_attempt(*holder)
            if not is_releasable(_ignore_ended(live.evaluation), live.pods, holder, slot.index):
                raise errors.Conflict(f"slot {slot.index} is still in use by {holder.name}")
        register = await lease.swap(self._client, slot.register, "")
        self._view.slots[slot.index] = Slot(slot.index, register)

    # For people to read.

    async def _report(self, action: Report) -> None:
        await self._write_status(action.evaluation, patches.build_report(action.evaluation, action.derived))

    async def _read_events(self, action: ReadEvents) -> None:
        await self._observer.read_events(action.uid, self._clock())

    async def _tell_defect(self, action: TellDefect) -> None:
        raise action.error

    async def _write_status(self, evaluation: objects.Evaluation, patch: Patch) -> None:
        answer = await self._client.json_patch(EVALUATIONS, evaluation.name, patch, subresource="status")
        written = objects.parse_evaluation(answer)
        self._view.evaluations.put(written)
        self._on_status_written(evaluation, written)

    async def _write_job(self, job: objects.AttemptJob, patch: Patch) -> None:
        self._put_job(await self._client.json_patch(JOBS, job.name, patch))

    def _put_job(self, answer: Object) -> None:
        parsed = objects.parse_job(answer)
        if parsed is not None:
            self._view.jobs.put(parsed)


def _ignore_ended(evaluation: objects.Evaluation | None) -> objects.Evaluation | None:
    """Return None for an ended evaluation: no slot, Job or pod is needed for it, as for one that is gone."""
    return None if evaluation is None or evaluation.is_terminal else evaluation
