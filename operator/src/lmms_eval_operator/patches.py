"""The JSON Patches that the operator sends, each with its precondition in front. Pure.

Two kinds of precondition on an evaluation. What must be true of the whole object (start, end) tests its resourceVersion.
What only shows where a running attempt is tests uid, phase, attempt and jobUID, which the reporter, who writes every few
seconds, cannot change. It may be out of date for a moment; the next look corrects it.
"""

from dataclasses import replace
from typing import Any, Final

from lmms_eval_core import names
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.status import KEPT_ATTEMPTS, RESULTS_SUSPECT, Suspect
from lmms_eval_operator.derive import Verdict
from lmms_eval_operator.objects import Evaluation, Job, Pod

Operation = dict[str, Any]

# More failures in disguise than this share of the answers, and a clean success is none.
SUSPECT_SHARE: Final = 0.01


def running(evaluation: Evaluation, job: Job, pod: Pod, now: str) -> list[Operation]:
    """Step 3 of a start. What the reporter of an earlier attempt wrote is cleared."""
    attempt = {"number": job.attempt, "jobName": job.name, "startedAt": now}
    attempt |= {"processes": job.processes} if job.processes else {}
    return [
        *_unchanged(evaluation),
        *(_remove(field) for field in sorted(evaluation.reported)),
        *_no_longer_waiting(evaluation),
        *_where(evaluation, Phase.RUNNING, Reason.STARTING, ""),
        _set("attempt", job.attempt),
        _set("slot", job.slot),
        _set("jobName", job.name),
        _set("jobUID", job.uid),
        _set("podUID", pod.uid),
        _set("startedAt", evaluation.started_at or now),
        _set("attempts", [*evaluation.attempts, attempt][-KEPT_ATTEMPTS:]),
    ]


def report(evaluation: Evaluation, verdict: Verdict) -> list[Operation]:
    """Where an evaluation is. One that is queued is changed by people and by us alone, so the whole object is tested."""
    where = _where(evaluation, verdict.phase, verdict.reason, verdict.message)
    if evaluation.phase is Phase.QUEUED:
        return [*_unchanged(evaluation), *where]
    node = [_attempts(evaluation, node=verdict.facts.node)] if verdict.facts.node != evaluation.node else []
    return [*_same_attempt(evaluation), *where, *node]


def ended(evaluation: Evaluation, verdict: Verdict, now: str) -> list[Operation]:
    """The end of an evaluation whose attempt is over, or that waits for its turn."""
    return [
        *_unchanged(evaluation),
        *_no_longer_waiting(evaluation),
        *_where(evaluation, verdict.phase, verdict.reason, verdict.message),
        _set("completedAt", now),
        _set("conditions", conditions(evaluation, verdict, now)),
        *_end_of_attempt(evaluation, verdict, now),
        *_end_notes(evaluation, verdict),
    ]


def retried(evaluation: Evaluation, verdict: Verdict, now: str, next_attempt_at: str) -> list[Operation]:
    """The end of an attempt that another one follows. What it reported stays until that starts, but for its progress."""
    held = {"podUID": evaluation.pod_uid, "stoppedFor": evaluation.stopped_for}
    gone = ["jobName", "jobUID", "slot", *(name for name in held if held[name]), *({"progress"} & evaluation.reported)]
    return [
        *_unchanged(evaluation),
        *(_remove(field) for field in gone),
        *_where(evaluation, verdict.phase, verdict.reason, verdict.message),
        _set("nextAttemptAt", next_attempt_at),
        *_end_of_attempt(evaluation, verdict, now),
    ]


def bare(evaluation: Evaluation, verdict: Verdict) -> tuple[Evaluation, Verdict]:
    """The same end without a word of users, runs or the cluster."""
    meaning = BY_REASON[verdict.cause or verdict.reason].meaning
    return replace(evaluation, cancelled_by=""), Verdict(verdict.phase, verdict.reason, meaning, cause=verdict.cause)


def put_back(evaluation: Evaluation, verdict: Verdict, next_attempt_at: str) -> list[Operation]:
    """Back into the queue before its next attempt was started; whoever was about to start it finds that it has changed."""
    where = _where(evaluation, verdict.phase, verdict.reason, verdict.message)
    return [*_unchanged(evaluation), *where, _set("nextAttemptAt", next_attempt_at)]


def conditions(evaluation: Evaluation, verdict: Verdict, now: str) -> list[Object]:
    """Complete says whether there are results, and is False for every other end; Failed and ResultsSuspect appear where true."""
    said = [("Complete", verdict.phase is Phase.COMPLETED, verdict.reason.value, verdict.message)]
    if verdict.phase is Phase.FAILED:
        said.append(("Failed", True, verdict.reason.value, verdict.message))
    if verdict.phase is Phase.COMPLETED and (doubt := _doubt(evaluation)):
        said.append((RESULTS_SUSPECT, True, "FailedAnswers", doubt))
    return [
        {
            "type": kind,
            "status": str(true),
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
            "observedGeneration": evaluation.generation,
        }
        for kind, true, reason, message in said
    ]


def open_gate(pod: Pod) -> list[Operation]:
    """Step 4 of a start. No resourceVersion: others write too. It can succeed once in the life of a pod."""
    gate = f"/spec/schedulingGates/{pod.gate}"
    return [
        _op("test", "/metadata/uid", pod.uid),
        _op("test", f"{gate}/name", names.SCHEDULING_GATE),
        {"op": "remove", "path": gate},
    ]


def stop(evaluation: Evaluation, why: Reason) -> list[Operation]:
    """Says why the running attempt is to end. The reporter, who writes meanwhile, is no reason not to."""
    return [*_same_attempt(evaluation), _set("stoppedFor", why.value)]


def expire_job(job: Job, seconds: int) -> list[Operation]:
    """Hands a Job that is done to Kubernetes' own clean-up."""
    return [_op("test", "/metadata/uid", job.uid), _op("add", "/spec/ttlSecondsAfterFinished", seconds)]


def _op(operation: str, path: str, value: Any) -> Operation:
    return {"op": operation, "path": path, "value": value}


def _set(field: str, value: Any) -> Operation:
    return _op("add", f"/status/{field}", value)


def _remove(field: str) -> Operation:
    return {"op": "remove", "path": f"/status/{field}"}


def _no_longer_waiting(evaluation: Evaluation) -> list[Operation]:
    return [_remove("nextAttemptAt")] if evaluation.next_attempt_at else []


def _unchanged(evaluation: Evaluation) -> list[Operation]:
    return [
        _op("test", "/metadata/uid", evaluation.uid),
        _op("test", "/metadata/resourceVersion", evaluation.version),
    ]


def _same_attempt(evaluation: Evaluation) -> list[Operation]:
    return [
        _op("test", "/metadata/uid", evaluation.uid),
        _op("test", "/status/phase", evaluation.phase.value),
        _op("test", "/status/attempt", evaluation.attempt),
        _op("test", "/status/jobUID", evaluation.job_uid),
    ]


def _where(evaluation: Evaluation, phase: Phase, reason: Reason, message: str) -> list[Operation]:
    return [
        _set("phase", phase.value),
        _set("reason", reason.value),
        _set("message", message),
        _set("observedGeneration", evaluation.generation),
    ]


def _attempts(evaluation: Evaluation, **facts: Any) -> Operation:
    last = {**evaluation.attempts[-1], **{key: value for key, value in facts.items() if value not in (None, "")}}
    return _set("attempts", [*evaluation.attempts[:-1], last])


def _end_of_attempt(evaluation: Evaluation, verdict: Verdict, now: str) -> list[Operation]:
    if evaluation.phase is not Phase.RUNNING or not evaluation.attempts:
        return []
    facts = verdict.facts
    told = {"node": facts.node, "endedAt": facts.ended_at or now, "exitCode": facts.exit_code}
    reason, message = verdict.cause or verdict.reason, verdict.story or verdict.message
    return [_attempts(evaluation, **told, reason=reason.value, message=message)]


def _end_notes(evaluation: Evaluation, verdict: Verdict) -> list[Operation]:
    if verdict.phase is Phase.CANCELLED and evaluation.cancelled_by:
        return [_set("cancelledBy", evaluation.cancelled_by)]
    told = evaluation.error is not None and evaluation.speaks_of_this_attempt
    if verdict.phase is Phase.FAILED and not told:
        message = verdict.message or BY_REASON[verdict.reason].meaning
        return [_set("error", {"class": verdict.reason.value, "message": message})]
    return []


def _doubt(evaluation: Evaluation) -> str:
    if evaluation.suspect is None:
        return ""
    suspect = Suspect.model_validate(evaluation.suspect)
    bad = suspect.empty + suspect.failed + suspect.swallowed_errors
    if not bad or bad < SUSPECT_SHARE * suspect.samples:
        return ""
    return (
        f"of {suspect.samples} answers {suspect.empty} are empty and {suspect.failed} are error texts, "
        f"and {suspect.swallowed_errors} errors were swallowed: look at the samples before you trust the scores"
    )
