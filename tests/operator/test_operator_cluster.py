"""The operator's writes on a real API server and a real Job controller. There is no node: the test is the kubelet."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from operator_namespace import (
    MortalClient,
    OperatorKilled,
    OperatorNamespace,
    build_ended_status,
    build_running_status,
    is_gated,
    work_until,
)

from lmms_eval_core import names
from lmms_eval_core.kube import errors, lease
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS
from lmms_eval_operator import objects, patches
from lmms_eval_operator.clock import Now
from lmms_eval_operator.plan import plan
from lmms_eval_operator.reconcile import Reconciler
from lmms_eval_operator.slots import build_lease_labels

pytestmark = pytest.mark.integration


def phase(place: OperatorNamespace, name: str, *expected: str) -> Callable[[], Awaitable[bool]]:
    """A condition: the evaluation is in one of these phases."""

    async def holds() -> bool:
        return (await place.read_status(name))["phase"] in expected

    return holds


async def running(place: OperatorNamespace, operator: Reconciler, name: str) -> str:
    """The evaluation runs and has a pod, whose name this is."""
    await work_until(operator, phase(place, name, "Running"))
    await operator.work()
    return await place.wait_for_pod(name)


async def bound(place: OperatorNamespace, operator: Reconciler, name: str) -> str:
    """The same on a node: only the kubelet, which is us, can end the pod now."""
    await running(place, operator, name)
    return await place.bind(name)


async def completed(place: OperatorNamespace, operator: Reconciler, name: str) -> None:
    await running(place, operator, name)
    await place.publish_scores(name)
    await place.end_pod_of(name, 0)
    await work_until(operator, phase(place, name, "Completed"))


async def test_one_at_a_time_by_priority_then_age(place: OperatorNamespace) -> None:
    for name, priority in (("late", 0), ("first", 5), ("later", 0)):
        await place.submit(name, priority=priority)
        # creationTimestamp has whole seconds.
        await asyncio.sleep(1.1 if name == "late" else 0)
    operator = place.make_operator()
    for name in ("first", "late", "later"):
        await completed(place, operator, name)
        statuses = [await place.read_status(other) for other in ("first", "late", "later")]
        assert sum(status["phase"] == "Running" for status in statuses) <= 1
    starts = [(await place.read_status(name))["startedAt"] for name in ("first", "late", "later")]
    assert starts == sorted(starts)


async def test_a_completed_evaluation_tells_its_story(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    await completed(place, operator, "a")
    status = await place.read_status("a")
    assert (status["reason"], status["slot"], status["attempt"]) == ("Succeeded", 0, 1)
    assert [(entry["type"], entry["status"]) for entry in status["conditions"]] == [("Complete", "True")]
    assert status["conditions"][0]["observedGeneration"] == status["observedGeneration"] == 1
    assert (
        status["scores"] and status["attempts"][0]["exitCode"] == 0 and status["attempts"][0]["reason"] == "Succeeded"
    )
    assert status["completedAt"] >= status["startedAt"]
    await operator.work()
    assert await place.read_holder() == ""
    (job,) = await place.list_jobs("a")
    assert job["spec"]["ttlSecondsAfterFinished"] == place.settings.job_ttl_seconds


async def test_a_failure_names_the_culprit_and_the_queue_goes_on(place: OperatorNamespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    await running(place, operator, "a")
    error = {"class": "TaskNotFound", "message": "there is no task nonsense", "logTail": "..."}
    patch = [
        {"op": "add", "path": f"/status/{key}", "value": value}
        for key, value in (("error", error), ("reportedAttempt", 1))
    ]
    await place.client.json_patch(EVALUATIONS, "a", patch, subresource="status")
    await place.end_pod_of("a", 65)
    await work_until(operator, phase(place, "a", "Failed"))
    status = await place.read_status("a")
    assert (status["reason"], status["message"], status["error"]) == (
        "TaskNotFound",
        "there is no task nonsense",
        error,
    )
    assert [(entry["type"], entry["status"]) for entry in status["conditions"]] == [
        ("Complete", "False"),
        ("Failed", "True"),
    ]
    await completed(place, operator, "b")


async def test_the_start_is_four_writes_and_the_last_opens_the_gate_of_the_pod_in_the_status(
    place: OperatorNamespace,
) -> None:
    await place.submit("a")
    client = MortalClient(place.client)
    await work_until(place.make_operator(client), phase(place, "a", "Running"))
    assert client.writes[:5] == ["create leases", "patch leases", "create jobs", "patch lmmevaluations", "patch pods"]
    (job,), (pod,), status = await place.list_jobs("a"), await place.list_pods("a"), await place.read_status("a")
    assert not is_gated(pod)
    assert (status["jobName"], status["jobUID"]) == (job["metadata"]["name"], job["metadata"]["uid"])
    assert (status["podUID"], status["attempt"]) == (pod["metadata"]["uid"], 1)


async def test_a_paused_operator_cannot_start_what_another_one_ended(place: OperatorNamespace) -> None:
    await place.submit("a")
    with pytest.raises(OperatorKilled):
        await work_until(place.make_operator(MortalClient(place.client, dies_at=5)), phase(place, "a", "Running"))
    (item,) = await place.list_pods("a")
    pod = objects.parse_pod(item)
    assert pod is not None and is_gated(item)
    assert await place.read_phase("a") == ("Running", "Starting")

    await place.edit("a", cancel=True)
    await work_until(place.make_operator(), phase(place, "a", "Cancelled"))
    # Its Job's finalizer may keep it for a while; the gate can be opened then, but leads nowhere.
    with contextlib.suppress(errors.NotFound):
        await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    with pytest.raises((errors.NotFound, errors.Conflict)):
        await place.bind_pod(pod.name)


async def test_a_gate_is_opened_once(place: OperatorNamespace) -> None:
    await place.submit("a")
    with pytest.raises(OperatorKilled):
        await work_until(place.make_operator(MortalClient(place.client, dies_at=5)), phase(place, "a", "Running"))
    (item,) = await place.list_pods("a")
    pod = objects.parse_pod(item)
    assert pod is not None
    await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    with pytest.raises(errors.Conflict):
        await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    await completed(place, place.make_operator(), "a")


async def test_a_second_pod_of_an_attempt_gets_no_node_and_goes_with_its_job(place: OperatorNamespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    second = await place.create_second_pod("a")
    for _ in range(3):
        await operator.work()
    assert await _is_gated_or_gone(place, second)
    with pytest.raises(errors.KubeError):
        await place.bind_pod(second)
    await place.edit("a", cancel=True)

    async def told_to_end() -> bool:
        return "deletionTimestamp" in (await place.client.get(PODS, pod))["metadata"]

    await work_until(operator, told_to_end)
    await place.end_pod(pod, 143)
    await work_until(operator, phase(place, "a", "Cancelled"))
    await completed(place, operator, "b")
    await work_until(operator, lambda: _is_gone_or_going(place, second))


async def _is_gated_or_gone(place: OperatorNamespace, pod: str) -> bool:
    """Whether it has not got past its gate; the Job controller deletes a pod that is one too many, sooner or later."""
    try:
        return is_gated(await place.client.get(PODS, pod))
    except errors.NotFound:
        return True


async def _is_gone_or_going(place: OperatorNamespace, pod: str) -> bool:
    try:
        item = await place.client.get(PODS, pod)
    except errors.NotFound:
        return True
    return "deletionTimestamp" in item["metadata"]


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_run_that_a_release_without_gates_started_goes_on_after_an_upgrade(
    place: OperatorNamespace, cancel: bool
) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    await place.set_pod_status(pod, phase="Running", containerStatuses=[build_running_status()])
    # It knew no podUID, and the pod that it started has no gate.
    await place.client.json_patch(EVALUATIONS, "a", [{"op": "remove", "path": "/status/podUID"}], subresource="status")
    upgraded = place.make_operator()
    for _ in range(3):
        await upgraded.work()
    assert (await place.read_phase("a"))[0] == "Running" and await place.read_phase("b") == ("Queued", "WaitingForTurn")
    if cancel:
        await place.edit("a", cancel=True)
        await work_until(upgraded, lambda: _deleting(place, "a"))
        await place.end_pod(pod, 143)
    else:
        await place.publish_scores("a")
        await place.end_pod(pod, 0)
    await work_until(upgraded, phase(place, "a", "Cancelled" if cancel else "Completed"))
    await completed(place, upgraded, "b")


async def _gone(place: OperatorNamespace, name: str) -> bool:
    return not await place.list_jobs(name)


async def test_a_slot_is_claimed_once(place: OperatorNamespace) -> None:
    await place.submit("a")
    await place.submit("b", priority=1)
    first, second = place.make_operator(), place.make_operator()
    await first.observer.read_everything()
    await second.observer.read_everything()
    now = Now(0.0, datetime.now(UTC))
    (claim,) = plan(first.view, now)
    (same,) = plan(second.view, now)
    await first.executor.apply(claim)
    with pytest.raises(errors.Conflict):
        await second.executor.apply(same)
    await second.executor.look_again(same)
    assert not second.view.slots[0].register.free
    assert (await place.read_holder()).startswith("b/")


async def test_cancel_while_running_waits_for_the_pod_to_end(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    await place.set_pod_status(pod, phase="Running")
    await place.client.json_patch(
        EVALUATIONS,
        "a",
        [
            {"op": "add", "path": "/metadata/annotations", "value": {names.ANNOTATION_CANCELLED_BY: "ann"}},
            {"op": "add", "path": "/spec/cancel", "value": True},
        ],
    )
    await work_until(operator, lambda: _deleting(place, "a"))
    await operator.work()
    assert await place.read_phase("a") == ("Running", "Cancelling")
    assert (await place.read_holder()).startswith("a/")
    await place.end_pod(pod, 143)
    await work_until(operator, phase(place, "a", "Cancelled"))
    status = await place.read_status("a")
    assert (status["reason"], status["cancelledBy"], status["message"]) == (
        "CancelledByUser",
        "ann",
        "cancelled by ann",
    )
    await operator.work()
    assert await place.read_holder() == ""


async def _deleting(place: OperatorNamespace, name: str) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in await place.list_pods(name))


async def test_results_that_were_published_beat_a_late_cancel(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    await running(place, operator, "a")
    await place.publish_scores("a")
    await place.edit("a", cancel=True)
    await work_until(operator, phase(place, "a", "Completed"))


async def test_cancel_and_hold_in_the_queue(place: OperatorNamespace) -> None:
    for name in ("held", "cancelled"):
        await place.submit(name, hold=True)
    operator = place.make_operator()
    await work_until(operator, lambda: _reason(place, "held", "OnHold"))
    await place.edit("cancelled", cancel=True)
    await work_until(operator, phase(place, "cancelled", "Cancelled"))
    assert await place.list_jobs() == []
    await place.edit("held", hold=False)
    await completed(place, operator, "held")


async def _reason(place: OperatorNamespace, name: str, reason: str) -> bool:
    return (await place.read_phase(name))[1] == reason


async def test_hold_after_the_job_was_made_gives_the_slot_to_the_next(place: OperatorNamespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    with pytest.raises(OperatorKilled):
        await work_until(place.make_operator(MortalClient(place.client, dies_at=4)), phase(place, "a", "Running"))
    await place.edit("a", hold=True)
    operator = place.make_operator()
    await completed(place, operator, "b")
    assert await place.read_phase("a") == ("Queued", "OnHold")
    await place.edit("a", hold=False)
    await completed(place, operator, "a")


async def test_an_evaluation_deleted_while_it_runs_frees_its_slot_when_its_pod_is_gone(
    place: OperatorNamespace,
) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    await place.delete(EVALUATIONS, "a")
    await work_until(operator, lambda: _deleting(place, "a"))
    for _ in range(3):
        await asyncio.sleep(0.4)
        await operator.work()
        assert await place.read_phase("b") == ("Queued", "WaitingForTurn")
    await place.remove_pod(pod)
    await completed(place, operator, "b")


async def test_a_deleted_job_ends_the_attempt(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    await running(place, operator, "a")
    (job,) = await place.list_jobs("a")
    await place.delete(JOBS, job["metadata"]["name"])
    await work_until(operator, phase(place, "a", "Failed"))
    assert (await place.read_status("a"))["reason"] == "JobDeleted"
    await work_until(operator, lambda: _free(place))


async def _free(place: OperatorNamespace) -> bool:
    return await place.read_holder() == ""


async def test_a_deleted_pod_ends_the_attempt(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    await place.set_pod_status(pod, phase="Running")
    await place.delete(PODS, pod)
    await work_until(operator, lambda: _says(place, "a", "the pod is being deleted"))
    await place.set_pod_status(pod, phase="Failed", containerStatuses=[build_ended_status(143)])
    await work_until(operator, phase(place, "a", "Failed"))
    status = await place.read_status("a")
    assert (status["reason"], status["attempts"][0]["exitCode"]) == ("PodDeleted", 143)


async def _says(place: OperatorNamespace, name: str, message: str) -> bool:
    return (await place.read_status(name)).get("message") == message


@pytest.mark.parametrize("pod_first", [False, True])
async def test_the_manual_release_of_a_lost_nodes_slot(place: OperatorNamespace, pod_first: bool) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
    await place.set_pod_status(pod, phase="Running", conditions=conditions)
    await work_until(operator, lambda: _reason(place, "a", "NodeUnreachable"))
    (job,) = await place.list_jobs("a")
    # The pod alone is not enough: the Job's finalizer holds it, and with it the slot.
    if pod_first:
        await place.remove_pod(pod)
        await operator.work()
        assert (await place.read_phase("a"))[0] == "Running"
    await place.delete(JOBS, job["metadata"]["name"])
    if not pod_first:
        await place.remove_pod(pod)
    await work_until(operator, phase(place, "a", "Failed"))
    assert (await place.read_status("a"))["reason"] == "JobDeleted"
    await completed(place, operator, "b")


async def test_a_pod_left_behind_by_its_job_is_ended_by_cancel(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    await running(place, operator, "a")
    (job,) = await place.list_jobs("a")
    await place.client.delete(JOBS, job["metadata"]["name"], uid=job["metadata"]["uid"], propagation="Orphan")
    await work_until(operator, lambda: _gone(place, "a"))
    assert (await place.read_phase("a"))[0] == "Running"
    await place.edit("a", cancel=True)
    await work_until(operator, phase(place, "a", "Cancelled"))
    assert await place.list_pods("a") == []


async def test_a_run_whose_slot_is_not_its_own_is_ended_before_the_slot_is_used(place: OperatorNamespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    register = await lease.read(place.client, names.slot_lease_name(0), build_lease_labels(0))
    await lease.swap(place.client, register, "")
    await work_until(operator, lambda: _deleting(place, "a"))
    assert await place.read_phase("b") == ("Queued", "WaitingForTurn")
    await place.end_pod(pod, 143)
    await work_until(operator, phase(place, "a", "Failed"))
    assert (await place.read_status("a"))["reason"] == "Interrupted"
    await completed(place, operator, "b")


async def test_a_spec_that_kubernetes_refuses_fails_with_its_words_and_frees_the_slot(place: OperatorNamespace) -> None:
    place.settings = dataclasses.replace(place.settings, gpu_resource="no resource")
    await place.submit("a")
    operator = place.make_operator()
    await work_until(operator, phase(place, "a", "Failed"))
    status = await place.read_status("a")
    assert status["reason"] == "InvalidSpec" and "no resource" in status["message"]
    assert "attempts" not in status and await place.list_jobs() == []
    await work_until(operator, lambda: _free(place))


async def test_why_a_pod_waits(place: OperatorNamespace) -> None:
    await place.submit("a")
    operator = place.make_operator()
    pod = await running(place, operator, "a")
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: no GPU",
    }
    await place.set_pod_status(pod, conditions=[unschedulable])
    await work_until(operator, lambda: _reason(place, "a", "Unschedulable"))
    assert (await place.read_status("a"))["message"] == "0/1 nodes: no GPU"
    await place.bind("a")
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}
    container = {
        "name": "evaluator",
        "image": "evaluator:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": waiting,
    }
    await place.set_pod_status(pod, containerStatuses=[container])
    await work_until(operator, lambda: _reason(place, "a", "ImagePullError"))
    status = await place.read_status("a")
    assert status["message"] == "cannot pull image evaluator:1: no such host"
    assert status["attempts"][0]["node"] == place.node


async def test_a_container_that_somebody_injected_does_not_keep_an_evaluation_from_its_end(
    place: OperatorNamespace,
) -> None:
    await place.submit("a")
    operator = place.make_operator()
    pod = await bound(place, operator, "a")
    proxy = {**build_running_status(), "name": "istio-proxy"}
    reporter = {**build_running_status(), "name": names.REPORTER_CONTAINER}
    await place.set_pod_status(
        pod,
        phase="Running",
        containerStatuses=[build_running_status(), proxy],
        initContainerStatuses=[reporter],
        reason="",
    )
    await place.publish_scores("a")
    await place.set_pod_status(pod, containerStatuses=[build_ended_status(0), proxy])
    await work_until(operator, lambda: _deleting(place, "a"))
    assert await place.read_phase("a") == ("Running", "Publishing")
    assert "istio-proxy" in (await place.read_status("a"))["message"]
    # The kubelet ends the others first and the reporter last; the pod's phase comes later still.
    over = {**reporter, "state": build_ended_status(0)["state"]}
    await place.set_pod_status(pod, initContainerStatuses=[over])
    await work_until(operator, phase(place, "a", "Completed"))
    await operator.work()
    assert await place.read_holder() == ""
    await place.end_pod(pod, 0)
    await place.remove_pod(pod)
    await asyncio.sleep(1.5)
    assert {item["metadata"]["name"] for item in await place.list_pods("a")} <= {pod}, "its Job makes no other one"
