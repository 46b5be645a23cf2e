"""The JSON Patches that the operator sends, each with its precondition in front. Pure.

Two kinds of precondition on an evaluation. What must be true of the whole object (start, end) tests its
resourceVersion. What only shows where a running attempt is tests uid, phase, attempt and jobUID, which the reporter,
who writes every few seconds, cannot change. It may be out of date for a moment; the next look corrects it.
"""

from dataclasses import replace
from typing import Any, Final

from lmms_eval_core import names
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.status import GATE_PASSED, KEPT_ATTEMPTS, RESULTS_SUSPECT, SuspectAnswers
from lmms_eval_operator.derive import Derived
from lmms_eval_operator.objects import AttemptJob, Evaluation, Pod
from lmms_eval_operator.verdicts import CONDITION_STATUS, find_verdict

Operation = dict[str, Any]

# More failures in disguise than this share of the answers, and a clean success is none.
SUSPECT_SHARE: Final = 0.01


def build_running(evaluation: Evaluation, job: AttemptJob, pod: Pod, now: str) -> list[Operation]:
    """Build step 3 of a start. What the reporter of an earlier attempt wrote is cleared."""
    attempt = {"number": job.attempt, "jobName": job.name, "startedAt": now}
    attempt |= {"processes": job.processes} if job.processes else {}
    return [
        *_test_unchanged(evaluation),
        *(_remove(field) for field in sorted(evaluation.reported)),
        *_remove_next_attempt(evaluation),
        *_set_where(evaluation, Phase.RUNNING, Reason.STARTING, ""),
        _set("attempt", job.attempt),
        _set("slot", job.slot),
        _set("jobName", job.name),
        _set("jobUID", job.uid),
        _set("podUID", pod.uid),
        _set("startedAt", evaluation.started_at or now),
        _set("attempts", [*evaluation.attempts, attempt][-KEPT_ATTEMPTS:]),
    ]


def build_report(evaluation: Evaluation, derived: Derived) -> list[Operation]:
    """Build the report of where an evaluation is.

    Of a queued one, which people and we alone change, the whole is tested.
    """
    where = _set_where(evaluation, derived.phase, derived.reason, derived.message)
    if evaluation.phase is Phase.QUEUED:
        return [*_test_unchanged(evaluation), *where]
    facts = {**evaluation.unrecorded_resume_facts}
    if derived.facts.node != evaluation.node:
        facts["node"] = derived.facts.node
    return [*_test_same_attempt(evaluation), *where, *([_update_attempt(evaluation, **facts)] if facts else [])]


def build_end(evaluation: Evaluation, derived: Derived, now: str) -> list[Operation]:
    """Build the end of an evaluation whose attempt is over, or that waits for its turn."""
    return [
        *_test_unchanged(evaluation),
        *_remove_next_attempt(evaluation),
        *_set_where(evaluation, derived.phase, derived.reason, derived.message),
        _set("completedAt", now),
        *_set_gate(evaluation, derived),
        _set("conditions", build_conditions(evaluation, derived, now)),
        *_end_attempt(evaluation, derived, now),
        *_add_end_details(evaluation, derived),
    ]


def build_retry(evaluation: Evaluation, derived: Derived, now: str, next_attempt_at: str) -> list[Operation]:
    """Build the end of an attempt that another one follows.

    What it reported stays until that starts, but for its progress.
    """
    held = {"podUID": evaluation.pod_uid, "stoppedFor": evaluation.stopped_for}
    gone = ["jobName", "jobUID", "slot", *(name for name in held if held[name]), *({"progress"} & evaluation.reported)]
    return [
        *_test_unchanged(evaluation),
        *(_remove(field) for field in gone),
        *_set_where(evaluation, derived.phase, derived.reason, derived.message),
        _set("nextAttemptAt", next_attempt_at),
        *([_set("freeAttempts", evaluation.free_attempts + 1)] if derived.free else []),
        *_end_attempt(evaluation, derived, now),
    ]


def drop_foreign_texts(evaluation: Evaluation, derived: Derived) -> tuple[Evaluation, Derived]:
    """Return the same end without texts of users, runs or the cluster."""
    meaning = BY_REASON[derived.attempt_reason or derived.reason].meaning
    return replace(evaluation, cancelled_by=""), Derived(
        derived.phase, derived.reason, meaning, attempt_reason=derived.attempt_reason, free=derived.free
    )


def build_put_back(evaluation: Evaluation, derived: Derived, next_attempt_at: str) -> list[Operation]:
    """Build the way back into the queue, before the next attempt was started: a start that is under way
    finds a change.
    """
    where = _set_where(evaluation, derived.phase, derived.reason, derived.message)
    return [*_test_unchanged(evaluation), *where, _set("nextAttemptAt", next_attempt_at)]


def build_conditions(evaluation: Evaluation, derived: Derived, now: str) -> list[Object]:
    """Build the conditions: Complete is True if there are results, else False; Failed and ResultsSuspect appear where
    true, GatePassed where there is a gate.
    """
    found = [("Complete", str(derived.phase is Phase.COMPLETED), derived.reason.value, derived.message)]
    if derived.phase is Phase.FAILED:
        found.append(("Failed", "True", derived.reason.value, derived.message))
    if derived.phase is Phase.COMPLETED and (doubt := _explain_doubt(evaluation)):
        found.append((RESULTS_SUSPECT, "True", "FailedAnswers", doubt))
    if (verdict := find_verdict(evaluation, derived)) is not None:
        found.append((GATE_PASSED, CONDITION_STATUS[verdict.verdict], verdict.reason, verdict.message))
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
            "observedGeneration": evaluation.generation,
        }
        for kind, status, reason, message in found
    ]


def build_open_gate(pod: Pod) -> list[Operation]:
    """Build step 4 of a start. No resourceVersion: others write too. It can succeed once in the life of a pod."""
    gate = f"/spec/schedulingGates/{pod.gate}"
    return [
        _make_operation("test", "/metadata/uid", pod.uid),
        _make_operation("test", f"{gate}/name", names.SCHEDULING_GATE),
        {"op": "remove", "path": gate},
    ]


def build_stop(evaluation: Evaluation, reason: Reason) -> list[Operation]:
    """Build the stop of a running attempt. Writes of the reporter meanwhile do not matter."""
    return [*_test_same_attempt(evaluation), _set("stoppedFor", reason.value)]


def build_expire_job(job: AttemptJob, seconds: int) -> list[Operation]:
    """Build what hands a Job that is done to Kubernetes' own clean-up."""
    return [
        _make_operation("test", "/metadata/uid", job.uid),
        _make_operation("add", "/spec/ttlSecondsAfterFinished", seconds),
    ]


def _make_operation(operation: str, path: str, value: Any) -> Operation:
    return {"op": operation, "path": path, "value": value}


def _set(field: str, value: Any) -> Operation:
    return _make_operation("add", f"/status/{field}", value)


def _remove(field: str) -> Operation:
    return {"op": "remove", "path": f"/status/{field}"}


def _remove_next_attempt(evaluation: Evaluation) -> list[Operation]:
    return [_remove("nextAttemptAt")] if evaluation.next_attempt_at else []


def _test_unchanged(evaluation: Evaluation) -> list[Operation]:
    return [
        _make_operation("test", "/metadata/uid", evaluation.uid),
        _make_operation("test", "/metadata/resourceVersion", evaluation.version),
    ]


def _test_same_attempt(evaluation: Evaluation) -> list[Operation]:
    return [
        _make_operation("test", "/metadata/uid", evaluation.uid),
        _make_operation("test", "/status/phase", evaluation.phase.value),
        _make_operation("test", "/status/attempt", evaluation.attempt),
        _make_operation("test", "/status/jobUID", evaluation.job_uid),
    ]


def _set_where(evaluation: Evaluation, phase: Phase, reason: Reason, message: str) -> list[Operation]:
    return [
        _set("phase", phase.value),
        _set("reason", reason.value),
        _set("message", message),
        _set("observedGeneration", evaluation.generation),
    ]


def _update_attempt(evaluation: Evaluation, **facts: Any) -> Operation:
    last = {**evaluation.attempts[-1], **{key: value for key, value in facts.items() if value not in (None, "")}}
    return _set("attempts", [*evaluation.attempts[:-1], last])


def _end_attempt(evaluation: Evaluation, derived: Derived, now: str) -> list[Operation]:
    if evaluation.phase is not Phase.RUNNING or not evaluation.attempts:
        return []
    facts = derived.facts
    ended = {"node": facts.node, "endedAt": facts.ended_at or now, "exitCode": facts.exit_code}
    # The last word on them, after which a retry clears the progress.
    ended |= (evaluation.resume_facts if evaluation.has_report else None) or {}
    ended |= {"free": True} if derived.free else {}
    reason, message = derived.attempt_reason or derived.reason, derived.attempt_message or derived.message
    return [_update_attempt(evaluation, **ended, reason=reason.value, message=message)]


def _add_end_details(evaluation: Evaluation, derived: Derived) -> list[Operation]:
    if derived.phase is Phase.CANCELLED and evaluation.cancelled_by:
        return [_set("cancelledBy", evaluation.cancelled_by)]
    reported = evaluation.error is not None and evaluation.has_report
    if derived.phase is Phase.FAILED and not reported:
        message = derived.message or BY_REASON[derived.reason].meaning
        return [_set("error", {"class": derived.reason.value, "message": message})]
    return []


def _set_gate(evaluation: Evaluation, derived: Derived) -> list[Operation]:
    verdict = find_verdict(evaluation, derived)
    return [] if verdict is None or verdict.is_reported else [_set("gate", verdict.to_wire())]


def _explain_doubt(evaluation: Evaluation) -> str:
    if evaluation.suspect is None:
        return ""
    suspect = SuspectAnswers.model_validate(evaluation.suspect)
    bad = suspect.empty + suspect.failed + suspect.swallowed_errors
    if not bad or bad < SUSPECT_SHARE * suspect.samples:
        return ""
    return (
        f"of {suspect.samples} answers {suspect.empty} are empty and {suspect.failed} are error texts, "
        f"and {suspect.swallowed_errors} errors were swallowed: look at the samples before you trust the scores"
    )
