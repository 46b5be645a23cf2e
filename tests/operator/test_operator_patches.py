"""Each patch: its precondition, that it writes only what is the operator's, and what comes of it."""

from dataclasses import replace
from typing import Any

import pytest
from fake_api_server import apply_patch
from operator_builders import gated, job_of, pod_of, queued, retrying, running

from lmms_eval_core.crd import list_status_owners
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import Object
from lmms_eval_core.names import SCHEDULING_GATE
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.schema import Owner
from lmms_eval_core.status import EvaluationStatus
from lmms_eval_operator import patches
from lmms_eval_operator.derive import AttemptFacts, Derived, derive_cancelled
from lmms_eval_operator.objects import Evaluation

NOW = "2026-01-01T02:00:00Z"
FAILED = Derived(Phase.FAILED, Reason.TASK_NOT_FOUND, "no task x", AttemptFacts("n1", 65, "2026-01-01T01:30:00Z"))
AGAIN = Derived(
    Phase.QUEUED,
    Reason.RETRYING,
    "attempt 1 ...",
    AttemptFacts("n1", 71),
    attempt_reason=Reason.GPU_ERROR,
    attempt_message="a CUDA fault",
)
LATER = "2026-01-01T02:00:10Z"
DONE = Derived(Phase.COMPLETED, Reason.SUCCEEDED, "", AttemptFacts("n1", 0))


def stored(evaluation: Evaluation, **status: Any) -> Object:
    """The object that the projection is of."""
    fields: Object = {"phase": evaluation.phase.value, "reason": evaluation.reason}
    if evaluation.attempt:
        fields |= {"attempt": evaluation.attempt}
    if evaluation.phase is Phase.RUNNING:
        fields |= {"jobName": "a-job", "jobUID": evaluation.job_uid, "podUID": evaluation.pod_uid, "slot": 0}
    if evaluation.next_attempt_at:
        fields |= {"nextAttemptAt": evaluation.next_attempt_at}
    return {
        "metadata": {
            "uid": evaluation.uid,
            "name": evaluation.name,
            "resourceVersion": evaluation.version,
            "generation": 1,
        },
        "spec": {},
        "status": fields | status,
    }


def after(evaluation: Evaluation, patch: list[dict[str, Any]], **status: Any) -> Object:
    """The status once the patch was applied; it must be one that the schema takes."""
    result: Object = apply_patch(stored(evaluation, **status), patch)["status"]
    EvaluationStatus.model_validate(result)
    return result


def every_patch() -> list[tuple[Evaluation, list[dict[str, Any]]]]:
    a, r, unwanted = queued("a"), running("a"), queued("a", cancel=True, cancelled_by="ann")
    waiting = Derived(Phase.RUNNING, Reason.PULLING_IMAGE, "x", AttemptFacts("n1"))
    return [
        (a, patches.build_running(a, job_of(a, attempt=1), pod_of(a, attempt=1), NOW)),
        (unwanted, patches.build_end(unwanted, derive_cancelled(unwanted), NOW)),
        (a, patches.build_report(a, Derived(Phase.QUEUED, Reason.ON_HOLD))),
        (r, patches.build_report(r, waiting)),
        (r, patches.build_stop(r, Reason.STALLED)),
        (r, patches.build_end(r, FAILED, NOW)),
        (r, patches.build_end(r, DONE, NOW)),
        (r, patches.build_retry(r, AGAIN, NOW, LATER)),
        (
            retrying("a"),
            patches.build_running(
                retrying("a"), job_of(retrying("a"), attempt=2), pod_of(retrying("a"), attempt=2), NOW
            ),
        ),
        (
            retrying("a", cancel=True),
            patches.build_end(retrying("a", cancel=True), derive_cancelled(retrying("a", cancel=True)), NOW),
        ),
    ]


def test_the_operator_writes_its_own_fields_alone() -> None:
    own = {f"/status/{field}" for field in list_status_owners()[Owner.OPERATOR]}
    for _, patch in every_patch():
        assert {operation["path"] for operation in patch if operation["op"] == "add"} <= own


@pytest.mark.parametrize(("evaluation", "patch"), every_patch())
def test_every_patch_has_a_precondition_in_front(evaluation: Evaluation, patch: list[dict[str, Any]]) -> None:
    assert after(evaluation, patch)
    assert patch[0] == {"op": "test", "path": "/metadata/uid", "value": evaluation.uid}
    another = stored(evaluation)
    another["metadata"]["uid"] = "another"
    with pytest.raises(errors.Conflict):
        apply_patch(another, patch)


def test_a_start_clears_what_an_earlier_reporter_said_and_keeps_earlier_attempts() -> None:
    old = tuple({"number": number, "jobName": "x"} for number in range(1, 6))
    evaluation = queued(
        "a", attempt=5, attempts=old, reported=frozenset({"scores", "error"}), started_at="2026-01-01T00:00:00Z"
    )
    job = job_of(evaluation, attempt=6, slot=3, processes=4)
    status = after(
        evaluation,
        patches.build_running(evaluation, job, pod_of(evaluation, attempt=6), NOW),
        scores={},
        error={"class": "x", "message": "y"},
    )
    assert (status["phase"], status["reason"], status["attempt"], status["slot"]) == ("Running", "Starting", 6, 3)
    assert (status["jobName"], status["jobUID"], status["podUID"]) == (job.name, job.uid, "a-pod-6")
    assert status["startedAt"] == "2026-01-01T00:00:00Z"
    assert [entry["number"] for entry in status["attempts"]] == [2, 3, 4, 5, 6]
    assert status["attempts"][-1] == {"number": 6, "jobName": job.name, "startedAt": NOW, "processes": 4}
    assert not {"scores", "error"} & status.keys()
    first = queued("a")
    assert (
        after(first, patches.build_running(first, job_of(first, attempt=1), pod_of(first, attempt=1), NOW))["startedAt"]
        == NOW
    )


def test_start_and_end_fail_if_anything_changed_since_the_look() -> None:
    evaluation = running("a")
    for patch in (
        patches.build_end(evaluation, FAILED, NOW),
        patches.build_running(queued("a"), job_of(evaluation), pod_of(evaluation), NOW),
    ):
        changed = stored(evaluation)
        changed["metadata"]["resourceVersion"] = "11"
        with pytest.raises(errors.Conflict):
            apply_patch(changed, patch)


def test_a_report_survives_the_reporters_writes_but_not_a_new_attempt() -> None:
    evaluation = running("a")
    patch = patches.build_report(evaluation, Derived(Phase.RUNNING, Reason.PULLING_IMAGE, "x", AttemptFacts("n1")))
    written = stored(evaluation, progress={"stage": "Evaluating"})
    written["metadata"]["resourceVersion"] = "11"
    status = apply_patch(written, patch)["status"]
    assert (status["reason"], status["message"], status["attempts"][0]["node"]) == ("PullingImage", "x", "n1")
    for change in ({"phase": "Failed"}, {"attempt": 2}, {"jobUID": "another"}):
        with pytest.raises(errors.Conflict):
            apply_patch(stored(evaluation, **change), patch)


def test_a_report_about_a_known_node_leaves_the_attempts_alone() -> None:
    evaluation = running("a", attempts=({"number": 1, "node": "n1"},))
    patch = patches.build_report(evaluation, Derived(Phase.RUNNING, Reason.EVALUATING, "", AttemptFacts("n1")))
    assert not [operation for operation in patch if operation["path"] == "/status/attempts"]


def test_an_end_is_written_into_the_attempt() -> None:
    evaluation = running("a")
    status = after(evaluation, patches.build_end(evaluation, FAILED, NOW))
    (attempt,) = status["attempts"]
    assert (attempt["node"], attempt["exitCode"], attempt["reason"]) == ("n1", 65, "TaskNotFound")
    assert (attempt["endedAt"], status["completedAt"]) == ("2026-01-01T01:30:00Z", NOW)
    assert status["error"] == {"class": "TaskNotFound", "message": "no task x"}
    bare = Derived(Phase.FAILED, Reason.JOB_DELETED)
    status = after(evaluation, patches.build_end(evaluation, bare, NOW))
    assert status["attempts"][0]["endedAt"] == NOW and "exitCode" not in status["attempts"][0]
    assert status["error"]["message"] == "the Job was deleted by somebody else"


def test_a_retry_keeps_what_was_reported_but_for_its_progress() -> None:
    error = {"class": "GPUError", "message": "a CUDA fault"}
    evaluation = running("a", stage="Evaluating", error=error)
    progress = {"stage": "Evaluating", "updatedAt": NOW}
    status = after(
        evaluation,
        patches.build_retry(evaluation, AGAIN, NOW, LATER),
        error=error,
        progress=progress,
        reportedAttempt=1,
    )
    assert (status["phase"], status["reason"], status["nextAttemptAt"]) == ("Queued", "Retrying", LATER)
    assert (status["attempts"][0]["reason"], status["attempts"][0]["message"]) == ("GPUError", "a CUDA fault")
    assert status["error"] == error and status["attempt"] == 1
    assert not {"jobName", "jobUID", "slot", "progress", "completedAt", "conditions"} & status.keys()


RESUMED = {"answers": 120, "fromAttempt": 1, "exactness": "exact"}
ANEW = "weights differ from attempt 1"


def test_an_attempt_that_spends_no_retry_is_counted_and_marked() -> None:
    evaluation = running("a", stage="Evaluating", free_attempts=2, resume_facts={"resumed": RESUMED})
    progress = {"stage": "Evaluating", "updatedAt": NOW, "resumed": RESUMED, "kept": 7}
    free = replace(AGAIN, free=True)
    for derived in (free, patches.drop_foreign_texts(evaluation, free)[1]):
        status = after(evaluation, patches.build_retry(evaluation, derived, NOW, LATER), progress=progress)
        assert (status["freeAttempts"], status["attempts"][0]["free"]) == (3, True)
        assert status["attempts"][0]["resumed"] == RESUMED and "progress" not in status
    status = after(evaluation, patches.build_retry(evaluation, AGAIN, NOW, LATER), freeAttempts=2, progress=progress)
    assert status["freeAttempts"] == 2 and "free" not in status["attempts"][0]


def test_an_end_has_the_last_word_on_what_an_attempt_had_from_earlier_ones() -> None:
    first = {**RESUMED, "answers": 1}
    known = ({"number": 1, "jobName": "a-job", "resumed": first},)
    evaluation = running("a", published=True, attempts=known, resume_facts={"resumed": RESUMED})
    assert after(evaluation, patches.build_end(evaluation, DONE, NOW))["attempts"][0]["resumed"] == RESUMED
    unreported = replace(evaluation, reported_attempt=0)
    assert after(unreported, patches.build_end(unreported, DONE, NOW))["attempts"][0]["resumed"] == first


def test_a_report_says_once_what_an_attempt_has_from_earlier_ones() -> None:
    here = Derived(Phase.RUNNING, Reason.EVALUATING, "", AttemptFacts("n1"))
    evaluation = running("a", stage="Evaluating", resume_facts={"startedAnew": ANEW})
    (attempt,) = after(evaluation, patches.build_report(evaluation, here))["attempts"]
    assert (attempt["node"], attempt["startedAnew"]) == ("n1", ANEW)
    known = replace(evaluation, attempts=(attempt,))
    patch = patches.build_report(known, here)
    assert not [operation for operation in patch if operation["path"] == "/status/attempts"]


def test_what_waited_for_its_next_attempt_does_not_say_so_afterwards() -> None:
    evaluation = retrying("a", cancel=True)
    for patch in (
        patches.build_running(evaluation, job_of(evaluation, attempt=2), pod_of(evaluation), NOW),
        patches.build_end(evaluation, FAILED, NOW),
    ):
        assert "nextAttemptAt" not in after(evaluation, patch)


def test_the_reporters_own_error_is_kept() -> None:
    error = {"class": "TaskNotFound", "message": "no task x", "logTail": "..."}
    evaluation = running("a", stage="Starting", error=error)
    assert after(evaluation, patches.build_end(evaluation, FAILED, NOW), error=error)["error"] == error
    earlier = running("a", attempt=2, error=error)
    assert after(earlier, patches.build_end(earlier, FAILED, NOW), error=error)["error"] != error


def test_an_evaluation_that_never_started_ends_without_an_attempt() -> None:
    evaluation = queued("a", cancel=True, cancelled_by="ann")
    status = after(evaluation, patches.build_end(evaluation, derive_cancelled(evaluation), NOW))
    assert (status["phase"], status["cancelledBy"], status["message"]) == ("Cancelled", "ann", "cancelled by ann")
    assert "attempts" not in status and "error" not in status


@pytest.mark.parametrize(
    ("derived", "suspect", "expected"),
    [
        (DONE, None, {"Complete": "True"}),
        (FAILED, None, {"Complete": "False", "Failed": "True"}),
        (Derived(Phase.CANCELLED, Reason.CANCELLED_BY_USER), None, {"Complete": "False"}),
        (DONE, {"samples": 1000, "failed": 9}, {"Complete": "True"}),
        (DONE, {"samples": 1000, "failed": 9, "empty": 1}, {"Complete": "True", "ResultsSuspect": "True"}),
        (DONE, {"samples": 10, "swallowedErrors": 1}, {"Complete": "True", "ResultsSuspect": "True"}),
        (DONE, {"samples": 0}, {"Complete": "True"}),
        (FAILED, {"samples": 10, "failed": 10}, {"Complete": "False", "Failed": "True"}),
    ],
)
def test_conditions(derived: Derived, suspect: Any, expected: dict[str, str]) -> None:
    said = patches.build_conditions(running("a", suspect=suspect, generation=4), derived, NOW)
    assert {entry["type"]: entry["status"] for entry in said} == expected
    assert {(entry["lastTransitionTime"], entry["observedGeneration"]) for entry in said} == {(NOW, 4)}
    assert all(entry["reason"] for entry in said)


def pod(*gates: str) -> Object:
    return {"metadata": {"uid": "a-pod-1"}, "spec": {"schedulingGates": [{"name": gate} for gate in gates]}}


def test_a_gate_is_opened_once_and_only_ours() -> None:
    known = gated(running("a"), gate=1)
    opened = apply_patch(pod("kueue", SCHEDULING_GATE, "other"), patches.build_open_gate(known))
    assert opened == pod("kueue", "other")
    for changed in (opened, pod("kueue"), pod(SCHEDULING_GATE, "kueue")):
        with pytest.raises(errors.Conflict):
            apply_patch(changed, patches.build_open_gate(known))


def test_why_a_run_is_to_end_is_written_beside_the_reporters_writes_but_not_of_another_attempt() -> None:
    evaluation = running("a")
    written = stored(evaluation, progress={"stage": "Evaluating"})
    written["metadata"]["resourceVersion"] = "11"
    status = apply_patch(written, patches.build_stop(evaluation, Reason.STALLED))["status"]
    assert status["stoppedFor"] == "Stalled"
    for change in ({"phase": "Completed"}, {"attempt": 2}, {"jobUID": "another"}):
        with pytest.raises(errors.Conflict):
            apply_patch(stored(evaluation, **change), patches.build_stop(evaluation, Reason.STALLED))


def test_a_retry_forgets_pod_and_why_it_was_stopped() -> None:
    evaluation = running("a", stopped_for=Reason.INTERRUPTED)
    status = after(
        evaluation, patches.build_retry(evaluation, AGAIN, NOW, LATER), podUID="a-pod-1", stoppedFor="Interrupted"
    )
    assert not {"podUID", "stoppedFor"} & status.keys()


def test_a_job_that_is_done_is_handed_to_kubernetes() -> None:
    assert (
        apply_patch({"metadata": {"uid": "a-job-1"}, "spec": {}}, patches.build_expire_job(job_of(running("a")), 60))[
            "spec"
        ]["ttlSecondsAfterFinished"]
        == 60
    )
