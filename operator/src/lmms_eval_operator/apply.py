"""Actions to API calls, each write with its precondition. The answer goes into the view at once, so the next plan knows of it.

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
from lmms_eval_core.schema import rfc3339
from lmms_eval_operator import job as manifest
from lmms_eval_operator import logs, objects, patches, retry
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
from lmms_eval_operator.derive import Verdict, as_shown, derive, shows
from lmms_eval_operator.gpus import CannotRun
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.plan.recover import orphan, releasable
from lmms_eval_operator.refusals import blames_the_object, digest
from lmms_eval_operator.settings import Settings
from lmms_eval_operator.slots import Holder, Slot
from lmms_eval_operator.transitions import Listener
from lmms_eval_operator.view import View

log = logging.getLogger(__name__)


class Executor:
    """Does actions. `time` is the time of day, `clock` is monotonic, `told` must not block."""

    def __init__(
        self,
        client: KubeClient,
        view: View,
        settings: Settings,
        *,
        time: Callable[[], datetime],
        clock: Callable[[], float],
        told: Listener = lambda before, after: None,
    ) -> None:
        self._client = client
        self._view = view
        self._settings = settings
        self._time = time
        self._clock = clock
        self._told = told
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
        """Does it. Raises KubeError: Conflict or NotFound if the precondition does not hold."""
        if not isinstance(action, LookAgain):
            await self._handlers[type(action)](action)

    async def look_again(self, action: Action) -> None:
        """Reads afresh what the action was about. Raises KubeError."""
        match action:
            case Claim(slot=slot) | Release(slot=slot):
                await self._observer.slots()
                if slot.holder is not None:
                    await self._look(*slot.holder)
                if isinstance(action, Claim):
                    await self._observer.evaluation(action.evaluation.name, action.evaluation.uid)
            case CreateJob(evaluation=evaluation) | PutBack(evaluation=evaluation):
                await self._look(evaluation.name, evaluation.uid, evaluation.attempt + 1)
            case MarkRunning(evaluation=evaluation, job=job):
                await self._look(evaluation.name, evaluation.uid, job.attempt)
            case DeleteJob(job=job) | ExpireJob(job=job):
                await self._look(job.evaluation, job.evaluation_uid, job.attempt)
            case DeletePod(pod=pod):
                await self._observer.pods(pod.evaluation_uid, pod.attempt)
            case OpenGate(evaluation=evaluation) | EndPod(evaluation=evaluation) | Stop(evaluation=evaluation):
                await self._look(evaluation.name, evaluation.uid, evaluation.attempt)
            case Finish(evaluation=evaluation) | Report(evaluation=evaluation):
                await self._look(evaluation.name, evaluation.uid, evaluation.attempt)
            case EndQueued(evaluation=evaluation):
                await self._observer.evaluation(evaluation.name, evaluation.uid)
            case _:
                pass

    async def _look(self, name: str, uid: str, attempt: int) -> None:
        await self._observer.attempt(name, uid, attempt)

    # The start, step by step.

    async def _claim(self, action: Claim) -> None:
        evaluation, slot = action.evaluation, action.slot
        holder = Holder(evaluation.name, evaluation.uid, evaluation.attempt + 1)
        register = await lease.swap(self._client, slot.register, str(holder))
        self._view.slots[slot.index] = Slot(slot.index, register, claimed_at=evaluation.version)

    async def _create_job(self, action: CreateJob) -> None:
        found = await self._to_be_started(action.evaluation)
        evaluation = objects.evaluation(found)
        try:
            body = self._manifest(found, evaluation.attempt + 1, action.slot.index)
            self._put_job(await self._client.create(JOBS, body))
            self._view.refusals.taken(evaluation.uid)
        except errors.AlreadyExists:
            await self._adopt(evaluation)
        except CannotRun as error:
            await self.refuse(evaluation, str(error))
        except (errors.Invalid, errors.Forbidden, errors.NotAdmitted) as error:
            if blames_the_object(error):
                await self.refuse(evaluation, error.message)
            else:
                await self._tried_later(found, action.slot, "Job", error.message)

    async def _to_be_started(self, expected: objects.Evaluation) -> Object:
        """The evaluation as it is. Raises Conflict if its next attempt is not the expected one, or is not to start."""
        found = await self._client.get(EVALUATIONS, expected.name)
        evaluation = objects.evaluation(found)
        self._view.evaluations.put(evaluation)
        if evaluation.uid != expected.uid or not evaluation.startable or evaluation.attempt != expected.attempt:
            raise errors.Conflict(f"{expected.name} is not to be started any more")
        return found

    def _manifest(self, found: Object, attempt: int, slot: int) -> Object:
        try:
            # Of the status nothing is needed: what does not parse there is no fault of the spec.
            parsed = LMMEvaluation.parse({"metadata": found["metadata"], "spec": found["spec"]})
            return manifest.job(parsed, attempt=attempt, slot=slot, settings=self._settings)
        except ValidationError as error:
            raise CannotRun(f"the spec is not valid for this version of the operator: {error}") from error

    async def _adopt(self, evaluation: objects.Evaluation) -> None:
        """The Job of this attempt is there: we, or another operator, created it before."""
        name = names.job_name(evaluation=evaluation.name, uid=evaluation.uid, attempt=evaluation.attempt + 1)
        found = objects.job(await self._client.get(JOBS, name))
        if found is None or found.evaluation_uid != evaluation.uid:
            await self.refuse(
                evaluation, f"a Job named {name} exists that is not this evaluation's: delete it and create this again"
            )
        else:
            self._view.jobs.put(found)

    async def _put_back(self, action: PutBack) -> None:
        await self._tried_later(await self._to_be_started(action.evaluation), action.slot, "pod", action.cause)

    async def _tried_later(self, found: Object, slot: Slot, what: str, cause: str) -> None:
        """The cluster does not take Job or pod, whatever the spec says: it stays queued, and the slot goes to the next one."""
        evaluation = objects.evaluation(found)
        wait = self._view.refusals.refused(evaluation.uid, spec=digest(found["spec"]), message=cause, now=self._clock())
        told = f"the cluster refused the {what}, which is tried again after status.nextAttemptAt: {cause}"
        verdict = Verdict(Phase.QUEUED, Reason.JOB_REFUSED, told)
        due = rfc3339(self._time() + timedelta(seconds=wait))
        await self._write_status(evaluation, patches.put_back(evaluation, verdict, due))
        self._view.given_back.add((slot.index, slot.register.resource_version))

    async def tell_failure(self, uid: str, message: str) -> None:
        """Writes what could not be done for an evaluation that has not ended into its message. Raises KubeError."""
        evaluation = self._view.evaluations.get(uid)
        if evaluation is not None and not shows(evaluation, verdict := as_shown(evaluation, message)):
            await self._write_status(evaluation, patches.report(evaluation, verdict))

    async def refuse(self, evaluation: objects.Evaluation, message: str) -> None:
        """Ends an evaluation of which no Job can be made. Raises KubeError."""
        await self._end_before_start(evaluation, Verdict(Phase.FAILED, Reason.INVALID_SPEC, message))

    async def _end_before_start(self, evaluation: objects.Evaluation, verdict: Verdict) -> None:
        """Its next attempt, which may have a slot and a Job by now, was not started, and cannot be any more."""
        await self._write_end(evaluation, verdict)
        self._view.over.add((evaluation.uid, evaluation.attempt + 1))

    async def _mark_running(self, action: MarkRunning) -> None:
        patch = patches.running(action.evaluation, action.job, action.pod, rfc3339(self._time()))
        try:
            await self._write_status(action.evaluation, patch)
        except errors.Invalid as error:
            if not blames_the_object(error):
                raise
            await self.refuse(action.evaluation, f"its start cannot be written into its status: {error.message}")

    async def _open_gate(self, action: OpenGate) -> None:
        opened = objects.pod(await self._client.json_patch(PODS, action.pod.name, patches.open_gate(action.pod)))
        if opened is not None:
            self._view.pods.put(opened)

    # The end.

    async def _stop(self, action: Stop) -> None:
        evaluation = action.evaluation
        if action.why is Reason.INTERRUPTED:
            await self._observer.slots()
            if self._view.in_its_slot(evaluation):
                raise errors.Conflict(f"{evaluation.name} is in its slot")
        await self._write_status(evaluation, patches.stop(evaluation, action.why))

    async def _delete_pod(self, action: DeletePod) -> None:
        pod = action.pod
        jobs = await self._client.list(JOBS, label_selector=f"{names.LABEL_EVALUATION_UID}={pod.evaluation_uid}")
        if any((job := objects.job(item)) and job.attempt == pod.attempt for item in jobs.items):
            raise errors.Conflict(f"{pod.name} has a Job")
        await self._client.delete(PODS, pod.name, uid=pod.uid)
        await self._observer.pods(pod.evaluation_uid, pod.attempt)

    async def _end_pod(self, action: EndPod) -> None:
        """The kubelet ends the others first and the reporter last, which has its time to publish."""
        pod = action.pod
        await self._client.delete(PODS, pod.name, uid=pod.uid)
        await self._observer.pods(pod.evaluation_uid, pod.attempt)

    async def _delete_job(self, action: DeleteJob) -> None:
        job = action.job
        await self._observer.slots()
        live = await self._observer.attempt(job.evaluation, job.evaluation_uid, job.attempt)
        named = self._view.named(job.slot, job.evaluation_uid, job.attempt)
        if live.job is None or live.job.uid != job.uid or not orphan(_live(live.evaluation), live.job, live.pods, named=named):
            raise errors.Conflict(f"{job.name} is no orphan")
        await self._client.delete(JOBS, job.name, uid=job.uid)
        self._view.jobs.forget(job.uid)

    async def _expire_job(self, action: ExpireJob) -> None:
        await self._write_job(action.job, patches.expire_job(action.job, self._settings.job_ttl_seconds))

    async def _end_queued(self, action: EndQueued) -> None:
        await self._end_before_start(action.evaluation, action.verdict)

    async def _finish(self, action: Finish) -> None:
        expected = action.evaluation
        live = await self._observer.attempt(expected.name, expected.uid, expected.attempt)
        evaluation = live.evaluation
        if evaluation is None or evaluation.phase is not Phase.RUNNING or evaluation.attempt != expected.attempt:
            raise errors.Conflict(f"{expected.name} is not running attempt {expected.attempt} any more")
        job = live.job if live.job is not None and live.job.uid == evaluation.job_uid else None
        verdict = derive(evaluation, job, live.pods)
        if not verdict.over:
            raise errors.Conflict(f"{expected.name} is still running")
        await self._write_end(evaluation, verdict)
        self._view.over.add((evaluation.uid, evaluation.attempt))

    async def _write_end(self, evaluation: objects.Evaluation, verdict: Verdict) -> None:
        """The end of an evaluation or of its attempt; if the API server finds that invalid, in our own words alone."""
        try:
            await self._write_status(evaluation, self._end_of_attempt(evaluation, verdict))
        except errors.Invalid as error:
            log.error("an end was refused", extra=logs.keys(evaluation=evaluation.name, cause=error.message))
            await self._write_status(evaluation, self._end_of_attempt(*patches.bare(evaluation, verdict)))

    def _end_of_attempt(self, evaluation: objects.Evaluation, verdict: Verdict) -> Patch:
        now = self._time()
        if verdict.phase is not Phase.QUEUED:
            return patches.ended(evaluation, verdict, rfc3339(now))
        due = retry.next_attempt_at(evaluation, first_seconds=self._settings.retry_backoff_seconds, now=now)
        return patches.retried(evaluation, verdict, rfc3339(now), due)

    async def _release(self, action: Release) -> None:
        slot, holder = action.slot, action.slot.holder
        if holder is not None and not self._view.is_over(slot):
            live = await self._observer.attempt(*holder)
            if not releasable(_live(live.evaluation), live.pods, holder, slot.index):
                raise errors.Conflict(f"slot {slot.index} is still in use by {holder.name}")
        register = await lease.swap(self._client, slot.register, "")
        self._view.slots[slot.index] = Slot(slot.index, register)

    # For people to read.

    async def _report(self, action: Report) -> None:
        await self._write_status(action.evaluation, patches.report(action.evaluation, action.verdict))

    async def _read_events(self, action: ReadEvents) -> None:
        await self._observer.events(action.uid, self._clock())

    async def _tell_defect(self, action: TellDefect) -> None:
        raise action.error

    async def _write_status(self, evaluation: objects.Evaluation, patch: Patch) -> None:
        answer = await self._client.json_patch(EVALUATIONS, evaluation.name, patch, subresource="status")
        written = objects.evaluation(answer)
        self._view.evaluations.put(written)
        self._told(evaluation, written)

    async def _write_job(self, job: objects.Job, patch: Patch) -> None:
        self._put_job(await self._client.json_patch(JOBS, job.name, patch))

    def _put_job(self, answer: Object) -> None:
        parsed = objects.job(answer)
        if parsed is not None:
            self._view.jobs.put(parsed)


def _live(evaluation: objects.Evaluation | None) -> objects.Evaluation | None:
    """An ended evaluation stands behind nothing, like one that is gone."""
    return None if evaluation is None or evaluation.terminal else evaluation
