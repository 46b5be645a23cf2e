"""Projections of what the API server sends, and of what it leaves out."""

from typing import Any

import pytest

from lmms_eval_core.phases import Phase
from lmms_eval_operator import objects
from lmms_eval_operator.objects import ContainerState, Event, ForeignContainer, PodCondition

METADATA = {
    "name": "a",
    "uid": "12345678-9",
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
}
LABELS = {
    "lmms-eval.io/evaluation": "a",
    "lmms-eval.io/evaluation-uid": "12345678-9",
    "lmms-eval.io/attempt": "2",
    "lmms-eval.io/slot": "1",
}


def job(**parts: Any) -> objects.AttemptJob:
    metadata = {"name": "a-12345678-a2", "uid": "j", "resourceVersion": "8", "labels": LABELS}
    found = objects.parse_job({"metadata": metadata | parts.pop("metadata", {}), **parts})
    assert found is not None
    return found


def pod(**parts: Any) -> objects.Pod:
    metadata = {"name": "p", "uid": "p", "resourceVersion": "9", "labels": LABELS}
    found = objects.parse_pod({"metadata": metadata | parts.pop("metadata", {}), **parts})
    assert found is not None
    return found


def test_a_bare_evaluation_is_queued() -> None:
    found = objects.parse_evaluation({"metadata": METADATA, "spec": {}})
    assert (found.phase, found.priority, found.attempt, found.job_uid, found.reported) == (
        Phase.QUEUED,
        0,
        0,
        "",
        frozenset(),
    )
    assert found.is_startable and not found.is_terminal and not found.is_unwanted and not found.is_published


def test_an_evaluation_in_full() -> None:
    status = {
        "phase": "Running",
        "reason": "Evaluating",
        "message": "m",
        "attempt": 2,
        "slot": 1,
        "jobUID": "j",
        "podUID": "p",
        "stoppedFor": "Stalled",
        "startedAt": "2026-01-01T00:01:00Z",
        "attempts": [{"number": 2, "node": "n1"}],
        "reportedAttempt": 2,
        "progress": {"stage": "Evaluating"},
        "scores": {},
        "suspect": {"samples": 1},
        "error": {"class": "x", "message": "y"},
    }
    metadata = METADATA | {"deletionTimestamp": "now", "annotations": {"lmms-eval.io/cancelled-by": "ann"}}
    found = objects.parse_evaluation(
        {"metadata": metadata, "spec": {"priority": 5, "hold": True, "cancel": True}, "status": status}
    )
    assert (found.priority, found.hold, found.cancel, found.deleting, found.cancelled_by) == (
        5,
        True,
        True,
        True,
        "ann",
    )
    assert (found.attempt, found.slot, found.job_uid, found.node, found.stage) == (2, 1, "j", "n1", "Evaluating")
    assert (found.pod_uid, found.stopped_for) == ("p", "Stalled")
    assert found.is_published and found.has_report and found.is_unwanted
    assert found.reported == {"reportedAttempt", "progress", "scores", "suspect", "error"}


def test_what_is_said_of_the_answers_of_attempts() -> None:
    resumed = {"answers": 120, "fromAttempt": 1, "exactness": "exact"}
    progress = {"stage": "Evaluating", "kept": 7, "resumed": resumed, "startedAnew": "weights\n" + "x" * 1000}
    progress["notKept"] = "No space\nleft"
    status = {"phase": "Running", "attempt": 2, "reportedAttempt": 2, "freeAttempts": 1, "progress": progress}
    found = objects.parse_evaluation({"metadata": METADATA, "spec": {"retries": 2}, "status": status})
    assert (found.free_attempts, found.allowed_attempts, found.kept_answers) == (1, 4, 7)
    assert found.resume_facts is not None and found.resume_facts["resumed"] == resumed
    reason = found.resume_facts["startedAnew"]
    assert reason.startswith("weights x") and len(reason) == objects.MAX_RESUME_REASON
    assert found.resume_facts["notKept"] == "No space left"
    assert found.resumes and found.has_kept_answers
    never = objects.parse_evaluation({"metadata": METADATA, "spec": {"resume": "never"}, "status": status})
    assert not never.resumes and not never.has_kept_answers


def test_an_evaluation_of_an_earlier_release_has_kept_nothing() -> None:
    progress = {"stage": "Evaluating", "completed": 5, "total": 8}
    status = {"phase": "Running", "attempt": 1, "reportedAttempt": 1, "progress": progress}
    found = objects.parse_evaluation({"metadata": METADATA, "spec": {"retries": 2}, "status": status})
    assert (found.free_attempts, found.allowed_attempts, found.resumes) == (0, 3, True)
    assert not found.has_kept_answers and found.resume_facts is None and not found.unrecorded_resume_facts


def test_a_job_in_full() -> None:
    found = job(spec={"ttlSecondsAfterFinished": 0}, metadata={"deletionTimestamp": "now"})
    assert (found.evaluation, found.attempt, found.slot) == ("a", 2, 1)
    assert found.expires and found.deleting and not found.spent and not found.gated


def test_our_gate_is_found_among_others() -> None:
    ours, others = {"name": "lmms-eval.io/attempt"}, {"name": "kueue.x-k8s.io/topology"}
    assert [pod(spec={"schedulingGates": gates}).gate for gates in ([ours], [others, ours], [others], [])] == [
        0,
        1,
        None,
        None,
    ]
    assert job(spec={"template": {"spec": {"schedulingGates": [ours]}}}).gated


def test_a_pod_that_was_deleted_before_it_had_a_node_can_hold_no_gpu() -> None:
    deleted = {"deletionTimestamp": "now"}
    assert pod(metadata=deleted).is_terminal
    assert not pod(metadata=deleted, spec={"nodeName": "n1"}).is_terminal
    assert not pod().is_terminal


@pytest.mark.parametrize(
    "status",
    [
        {"failed": 1},
        {"succeeded": 1},
        {"uncountedTerminatedPods": {"failed": ["p"]}},
        {"conditions": [{"type": "Failed", "status": "True"}]},
        {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]},
    ],
)
def test_a_job_whose_pod_has_ended_is_spent(status: dict[str, Any]) -> None:
    assert job(status=status).spent


@pytest.mark.parametrize(
    "status",
    [{}, {"active": 1}, {"uncountedTerminatedPods": {}}, {"conditions": [{"type": "Suspended", "status": "True"}]}],
)
def test_a_job_that_runs_is_not_spent(status: dict[str, Any]) -> None:
    assert not job(status=status).spent


@pytest.mark.parametrize("missing", ["lmms-eval.io/attempt", "lmms-eval.io/slot"])
def test_what_carries_not_our_labels_is_not_ours(missing: str) -> None:
    labels = {label: value for label, value in LABELS.items() if label != missing}
    metadata = {"name": "a-12345678-a2", "uid": "j", "resourceVersion": "8", "labels": labels}
    assert objects.parse_job({"metadata": metadata}) is None
    assert objects.parse_pod({"metadata": metadata}) is None


def test_a_pod_in_full() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no"}}
    found = pod(
        spec={"nodeName": "n1"},
        metadata={"deletionTimestamp": "now"},
        status={
            "phase": "Running",
            "reason": "Evicted",
            "message": "disk",
            "conditions": [{"type": "Ready", "status": "False", "reason": "r", "message": "m"}],
            "containerStatuses": [{"name": "other"}, {"name": "evaluator", "image": "e", "state": waiting}],
            "initContainerStatuses": [{"name": "reporter", "image": "r", "state": {"running": {"startedAt": "x"}}}],
        },
    )
    assert (found.phase, found.node, found.deleting, found.reason, found.message) == (
        "Running",
        "n1",
        True,
        "Evicted",
        "disk",
    )
    assert found.condition("Ready") == PodCondition("False", "r", "m") and found.condition("Other") is None
    assert found.evaluator == ContainerState(image="e", waiting="ErrImagePull", message="no")
    assert found.reporter == ContainerState(image="r", running=True)
    assert found.foreign == (ForeignContainer("other", ContainerState(), init=False),)
    assert not found.is_terminal and not found.memory_limited


@pytest.mark.parametrize(
    ("resources", "limited"), [({"limits": {"memory": "1Gi"}}, True), ({"limits": {"cpu": 1}}, False), (None, False)]
)
def test_whether_the_evaluators_memory_is_limited(resources: Any, limited: bool) -> None:
    containers = [
        {"name": "istio-proxy", "resources": {"limits": {"memory": "1Gi"}}},
        {"name": "evaluator", "resources": resources},
    ]
    assert pod(spec={"containers": containers}).memory_limited is limited


def test_what_keeps_a_pod_whose_evaluator_has_ended() -> None:
    runs, over = {"running": {"startedAt": "x"}}, {"terminated": {"exitCode": 0}}
    sidecars = [{"name": "reporter", "state": runs}, {"name": "native", "state": runs}]
    ours, theirs = {"name": "evaluator", "state": over}, {"name": "istio-proxy", "state": runs}
    assert (
        pod(status={"containerStatuses": [ours, theirs], "initContainerStatuses": sidecars}).keeping_container
        == "istio-proxy"
    )
    assert pod(status={"containerStatuses": [ours], "initContainerStatuses": sidecars}).keeping_container == ""
    assert pod(status={"phase": "Failed", "containerStatuses": [ours, theirs]}).keeping_container == ""
    assert pod(status={"containerStatuses": [{"name": "evaluator", "state": runs}, theirs]}).keeping_container == ""


def test_an_ended_container() -> None:
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "t", "message": "m"}}
    found = pod(status={"phase": "Failed", "containerStatuses": [{"name": "evaluator", "state": state}]})
    assert found.evaluator == ContainerState(exit_code=137, ended_as="OOMKilled", ended_at="t", message="m")
    assert found.is_terminal and found.reporter is None


def test_a_pod_without_a_status_is_pending() -> None:
    found = pod()
    assert (found.phase, found.node, found.evaluator, found.condition("Ready")) == ("Pending", "", None, None)


def test_events_have_their_time_in_one_of_three_places() -> None:
    assert objects.parse_event({"reason": "r", "message": "m", "lastTimestamp": "3"}) == Event("r", "m", "3")
    assert objects.parse_event({"eventTime": "2"}) == Event("", "", "2")
    assert objects.parse_event({"metadata": {"creationTimestamp": "1"}}) == Event("", "", "1")
    assert objects.parse_event({}) == Event("", "", "")
