"""The operator's writes on a real API server and a real Job controller. There is no node: the test is the kubelet."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from operator_cluster import Killed, Mortal, Namespace, evaluator_ended, evaluator_runs, gated, until

from lmms_eval_core import names
from lmms_eval_core.kube import errors, lease
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS
from lmms_eval_operator import objects, patches
from lmms_eval_operator.clock import Now
from lmms_eval_operator.plan import plan
from lmms_eval_operator.reconcile import Reconciler
from lmms_eval_operator.slots import build_lease_labels

pytestmark = pytest.mark.integration


def phase(place: Namespace, name: str, *expected: str) -> Callable[[], Awaitable[bool]]:
    """A condition: the evaluation is in one of these phases."""

    async def holds() -> bool:
        return (await place.status(name))["phase"] in expected

    return holds


async def running(place: Namespace, operator: Reconciler, name: str) -> str:
    """The evaluation runs and has a pod, whose name this is."""
    await until(operator, phase(place, name, "Running"))
    await operator.work()
    return await place.pod(name)


async def bound(place: Namespace, operator: Reconciler, name: str) -> str:
    """The same on a node: only the kubelet, which is us, can end the pod now."""
    await running(place, operator, name)
    return await place.bind(name)


async def completed(place: Namespace, operator: Reconciler, name: str) -> None:
    await running(place, operator, name)
    await place.publish(name)
    await place.end_pod(name, 0)
    await until(operator, phase(place, name, "Completed"))


async def test_one_at_a_time_by_priority_then_age(place: Namespace) -> None:
    for name, priority in (("late", 0), ("first", 5), ("later", 0)):
        await place.submit(name, priority=priority)
        # creationTimestamp has whole seconds.
        await asyncio.sleep(1.1 if name == "late" else 0)
    operator = place.operator()
    for name in ("first", "late", "later"):
        await completed(place, operator, name)
        statuses = [await place.status(other) for other in ("first", "late", "later")]
        assert sum(status["phase"] == "Running" for status in statuses) <= 1
    starts = [(await place.status(name))["startedAt"] for name in ("first", "late", "later")]
    assert starts == sorted(starts)


async def test_a_completed_evaluation_tells_its_story(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    await completed(place, operator, "a")
    status = await place.status("a")
    assert (status["reason"], status["slot"], status["attempt"]) == ("Succeeded", 0, 1)
    assert [(entry["type"], entry["status"]) for entry in status["conditions"]] == [("Complete", "True")]
    assert status["conditions"][0]["observedGeneration"] == status["observedGeneration"] == 1
    assert (
        status["scores"] and status["attempts"][0]["exitCode"] == 0 and status["attempts"][0]["reason"] == "Succeeded"
    )
    assert status["completedAt"] >= status["startedAt"]
    await operator.work()
    assert await place.holder() == ""
    (job,) = await place.jobs("a")
    assert job["spec"]["ttlSecondsAfterFinished"] == place.settings.job_ttl_seconds


async def test_a_failure_names_the_culprit_and_the_queue_goes_on(place: Namespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    await running(place, operator, "a")
    error = {"class": "TaskNotFound", "message": "there is no task nonsense", "logTail": "..."}
    patch = [
        {"op": "add", "path": f"/status/{key}", "value": value}
        for key, value in (("error", error), ("reportedAttempt", 1))
    ]
    await place.client.json_patch(EVALUATIONS, "a", patch, subresource="status")
    await place.end_pod("a", 65)
    await until(operator, phase(place, "a", "Failed"))
    status = await place.status("a")
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


async def test_the_start_is_four_writes_and_the_last_opens_the_gate_of_the_pod_in_the_status(place: Namespace) -> None:
    await place.submit("a")
    client = Mortal(place.client)
    await until(place.operator(client), phase(place, "a", "Running"))
    assert client.writes[:5] == ["create leases", "patch leases", "create jobs", "patch lmmevaluations", "patch pods"]
    (job,), (pod,), status = await place.jobs("a"), await place.pods("a"), await place.status("a")
    assert not gated(pod)
    assert (status["jobName"], status["jobUID"]) == (job["metadata"]["name"], job["metadata"]["uid"])
    assert (status["podUID"], status["attempt"]) == (pod["metadata"]["uid"], 1)


async def test_a_paused_operator_cannot_start_what_another_one_ended(place: Namespace) -> None:
    await place.submit("a")
    with pytest.raises(Killed):
        await until(place.operator(Mortal(place.client, dies_at=5)), phase(place, "a", "Running"))
    (item,) = await place.pods("a")
    pod = objects.parse_pod(item)
    assert pod is not None and gated(item)
    assert await place.where("a") == ("Running", "Starting")

    await place.edit("a", cancel=True)
    await until(place.operator(), phase(place, "a", "Cancelled"))
    # Its Job's finalizer may keep it for a while; the gate can be opened then, but leads nowhere.
    with contextlib.suppress(errors.NotFound):
        await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    with pytest.raises((errors.NotFound, errors.Conflict)):
        await place.bind_pod(pod.name)


async def test_a_gate_is_opened_once(place: Namespace) -> None:
    await place.submit("a")
    with pytest.raises(Killed):
        await until(place.operator(Mortal(place.client, dies_at=5)), phase(place, "a", "Running"))
    (item,) = await place.pods("a")
    pod = objects.parse_pod(item)
    assert pod is not None
    await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    with pytest.raises(errors.Conflict):
        await place.client.json_patch(PODS, pod.name, patches.build_open_gate(pod))
    await completed(place, place.operator(), "a")


async def test_a_second_pod_of_an_attempt_gets_no_node_and_goes_with_its_job(place: Namespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    second = await place.another_pod("a")
    for _ in range(3):
        await operator.work()
    assert await _is_gated_or_gone(place, second)
    with pytest.raises(errors.KubeError):
        await place.bind_pod(second)
    await place.edit("a", cancel=True)

    async def told_to_end() -> bool:
        return "deletionTimestamp" in (await place.client.get(PODS, pod))["metadata"]

    await until(operator, told_to_end)
    await place.ends(pod, 143)
    await until(operator, phase(place, "a", "Cancelled"))
    await completed(place, operator, "b")
    await until(operator, lambda: _gone_or_going(place, second))


async def _is_gated_or_gone(place: Namespace, pod: str) -> bool:
    """Whether it has not got past its gate; the Job controller deletes a pod that is one too many, sooner or later."""
    try:
        return gated(await place.client.get(PODS, pod))
    except errors.NotFound:
        return True


async def _gone_or_going(place: Namespace, pod: str) -> bool:
    try:
        item = await place.client.get(PODS, pod)
    except errors.NotFound:
        return True
    return "deletionTimestamp" in item["metadata"]


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_run_that_a_release_without_gates_started_goes_on_after_an_upgrade(
    place: Namespace, cancel: bool
) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    await place.pod_status(pod, phase="Running", containerStatuses=[evaluator_runs()])
    # It knew no podUID, and the pod that it started has no gate.
    await place.client.json_patch(EVALUATIONS, "a", [{"op": "remove", "path": "/status/podUID"}], subresource="status")
    upgraded = place.operator()
    for _ in range(3):
        await upgraded.work()
    assert (await place.where("a"))[0] == "Running" and await place.where("b") == ("Queued", "WaitingForTurn")
    if cancel:
        await place.edit("a", cancel=True)
        await until(upgraded, lambda: _deleting(place, "a"))
        await place.ends(pod, 143)
    else:
        await place.publish("a")
        await place.ends(pod, 0)
    await until(upgraded, phase(place, "a", "Cancelled" if cancel else "Completed"))
    await completed(place, upgraded, "b")


async def _gone(place: Namespace, name: str) -> bool:
    return not await place.jobs(name)


async def test_a_slot_is_claimed_once(place: Namespace) -> None:
    await place.submit("a")
    await place.submit("b", priority=1)
    first, second = place.operator(), place.operator()
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
    assert (await place.holder()).startswith("b/")


async def test_cancel_while_running_waits_for_the_pod_to_end(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    await place.pod_status(pod, phase="Running")
    await place.client.json_patch(
        EVALUATIONS,
        "a",
        [
            {"op": "add", "path": "/metadata/annotations", "value": {names.ANNOTATION_CANCELLED_BY: "ann"}},
            {"op": "add", "path": "/spec/cancel", "value": True},
        ],
    )
    await until(operator, lambda: _deleting(place, "a"))
    await operator.work()
    assert await place.where("a") == ("Running", "Cancelling")
    assert (await place.holder()).startswith("a/")
    await place.ends(pod, 143)
    await until(operator, phase(place, "a", "Cancelled"))
    status = await place.status("a")
    assert (status["reason"], status["cancelledBy"], status["message"]) == (
        "CancelledByUser",
        "ann",
        "cancelled by ann",
    )
    await operator.work()
    assert await place.holder() == ""


async def _deleting(place: Namespace, name: str) -> bool:
    return all("deletionTimestamp" in pod["metadata"] for pod in await place.pods(name))


async def test_results_that_were_published_beat_a_late_cancel(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    await running(place, operator, "a")
    await place.publish("a")
    await place.edit("a", cancel=True)
    await until(operator, phase(place, "a", "Completed"))


async def test_cancel_and_hold_in_the_queue(place: Namespace) -> None:
    for name in ("held", "cancelled"):
        await place.submit(name, hold=True)
    operator = place.operator()
    await until(operator, lambda: _reason(place, "held", "OnHold"))
    await place.edit("cancelled", cancel=True)
    await until(operator, phase(place, "cancelled", "Cancelled"))
    assert await place.jobs() == []
    await place.edit("held", hold=False)
    await completed(place, operator, "held")


async def _reason(place: Namespace, name: str, reason: str) -> bool:
    return (await place.where(name))[1] == reason


async def test_hold_after_the_job_was_made_gives_the_slot_to_the_next(place: Namespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    with pytest.raises(Killed):
        await until(place.operator(Mortal(place.client, dies_at=4)), phase(place, "a", "Running"))
    await place.edit("a", hold=True)
    operator = place.operator()
    await completed(place, operator, "b")
    assert await place.where("a") == ("Queued", "OnHold")
    await place.edit("a", hold=False)
    await completed(place, operator, "a")


async def test_an_evaluation_deleted_while_it_runs_frees_its_slot_when_its_pod_is_gone(place: Namespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    await place.delete(EVALUATIONS, "a")
    await until(operator, lambda: _deleting(place, "a"))
    for _ in range(3):
        await asyncio.sleep(0.4)
        await operator.work()
        assert await place.where("b") == ("Queued", "WaitingForTurn")
    await place.vanish(pod)
    await completed(place, operator, "b")


async def test_a_deleted_job_ends_the_attempt(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    await running(place, operator, "a")
    (job,) = await place.jobs("a")
    await place.delete(JOBS, job["metadata"]["name"])
    await until(operator, phase(place, "a", "Failed"))
    assert (await place.status("a"))["reason"] == "JobDeleted"
    await until(operator, lambda: _free(place))


async def _free(place: Namespace) -> bool:
    return await place.holder() == ""


async def test_a_deleted_pod_ends_the_attempt(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    await place.pod_status(pod, phase="Running")
    await place.delete(PODS, pod)
    await until(operator, lambda: _says(place, "a", "the pod is being deleted"))
    await place.pod_status(pod, phase="Failed", containerStatuses=[evaluator_ended(143)])
    await until(operator, phase(place, "a", "Failed"))
    status = await place.status("a")
    assert (status["reason"], status["attempts"][0]["exitCode"]) == ("PodDeleted", 143)


async def _says(place: Namespace, name: str, message: str) -> bool:
    return (await place.status(name)).get("message") == message


@pytest.mark.parametrize("pod_first", [False, True])
async def test_the_manual_release_of_a_lost_nodes_slot(place: Namespace, pod_first: bool) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    conditions = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]
    await place.pod_status(pod, phase="Running", conditions=conditions)
    await until(operator, lambda: _reason(place, "a", "NodeUnreachable"))
    (job,) = await place.jobs("a")
    # The pod alone is not enough: the Job's finalizer holds it, and with it the slot.
    if pod_first:
        await place.vanish(pod)
        await operator.work()
        assert (await place.where("a"))[0] == "Running"
    await place.delete(JOBS, job["metadata"]["name"])
    if not pod_first:
        await place.vanish(pod)
    await until(operator, phase(place, "a", "Failed"))
    assert (await place.status("a"))["reason"] == "JobDeleted"
    await completed(place, operator, "b")


async def test_a_pod_left_behind_by_its_job_is_ended_by_cancel(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    await running(place, operator, "a")
    (job,) = await place.jobs("a")
    await place.client.delete(JOBS, job["metadata"]["name"], uid=job["metadata"]["uid"], propagation="Orphan")
    await until(operator, lambda: _gone(place, "a"))
    assert (await place.where("a"))[0] == "Running"
    await place.edit("a", cancel=True)
    await until(operator, phase(place, "a", "Cancelled"))
    assert await place.pods("a") == []


async def test_a_run_whose_slot_is_not_its_own_is_ended_before_the_slot_is_used(place: Namespace) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    register = await lease.read(place.client, names.slot_lease_name(0), build_lease_labels(0))
    await lease.swap(place.client, register, "")
    await until(operator, lambda: _deleting(place, "a"))
    assert await place.where("b") == ("Queued", "WaitingForTurn")
    await place.ends(pod, 143)
    await until(operator, phase(place, "a", "Failed"))
    assert (await place.status("a"))["reason"] == "Interrupted"
    await completed(place, operator, "b")


async def test_a_spec_that_kubernetes_refuses_fails_with_its_words_and_frees_the_slot(place: Namespace) -> None:
    place.settings = dataclasses.replace(place.settings, gpu_resource="no resource")
    await place.submit("a")
    operator = place.operator()
    await until(operator, phase(place, "a", "Failed"))
    status = await place.status("a")
    assert status["reason"] == "InvalidSpec" and "no resource" in status["message"]
    assert "attempts" not in status and await place.jobs() == []
    await until(operator, lambda: _free(place))


async def test_why_a_pod_waits(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    pod = await running(place, operator, "a")
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: no GPU",
    }
    await place.pod_status(pod, conditions=[unschedulable])
    await until(operator, lambda: _reason(place, "a", "Unschedulable"))
    assert (await place.status("a"))["message"] == "0/1 nodes: no GPU"
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
    await place.pod_status(pod, containerStatuses=[container])
    await until(operator, lambda: _reason(place, "a", "ImagePullError"))
    status = await place.status("a")
    assert status["message"] == "cannot pull image evaluator:1: no such host"
    assert status["attempts"][0]["node"] == place.node


async def test_a_container_that_somebody_injected_does_not_keep_an_evaluation_from_its_end(place: Namespace) -> None:
    await place.submit("a")
    operator = place.operator()
    pod = await bound(place, operator, "a")
    proxy = {**evaluator_runs(), "name": "istio-proxy"}
    reporter = {**evaluator_runs(), "name": names.REPORTER_CONTAINER}
    await place.pod_status(
        pod, phase="Running", containerStatuses=[evaluator_runs(), proxy], initContainerStatuses=[reporter], reason=""
    )
    await place.publish("a")
    await place.pod_status(pod, containerStatuses=[evaluator_ended(0), proxy])
    await until(operator, lambda: _deleting(place, "a"))
    assert await place.where("a") == ("Running", "Publishing")
    assert "istio-proxy" in (await place.status("a"))["message"]
    # The kubelet ends the others first and the reporter last; the pod's phase comes later still.
    over = {**reporter, "state": evaluator_ended(0)["state"]}
    await place.pod_status(pod, initContainerStatuses=[over])
    await until(operator, phase(place, "a", "Completed"))
    await operator.work()
    assert await place.holder() == ""
    await place.ends(pod, 0)
    await place.vanish(pod)
    await asyncio.sleep(1.5)
    assert {item["metadata"]["name"] for item in await place.pods("a")} <= {pod}, "its Job makes no other one"
