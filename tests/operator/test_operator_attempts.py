"""Further attempts and the user's timers on a real API server and a real Job controller. The test is the kubelet."""

from dataclasses import replace
from datetime import timedelta

import pytest
from operator_namespace import OperatorNamespace, build_running_status, work_until

from lmms_eval_core.kube.client import Object
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_operator.main import now_utc
from lmms_eval_operator.reconcile import Reconciler

pytestmark = pytest.mark.integration


async def reaches(place: OperatorNamespace, operator: Reconciler, name: str, *expected: str) -> Object:
    """The status, once phase and reason are these."""

    async def holds() -> bool:
        return await place.read_phase(name) == expected

    await work_until(operator, holds)
    return await place.read_status(name)


async def attempt_ends(place: OperatorNamespace, operator: Reconciler, name: str, exit_code: int) -> None:
    """The running attempt gets its pod, and that ends."""

    async def started() -> bool:
        return bool((await place.read_status(name))["phase"] == "Running")

    await work_until(operator, started)
    await operator.work()
    job = (await place.read_status(name))["jobName"]
    pod = await place.wait_for_pod_of_job(job)
    await place.end_pod(pod, exit_code)


async def test_an_interrupted_attempt_is_followed_by_another_which_completes(place: OperatorNamespace) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", retries=2)
    operator = place.make_operator()
    await attempt_ends(place, operator, "a", 137)
    status = await reaches(place, operator, "a", "Queued", "Retrying")
    assert status["message"].startswith("attempt 1 of 3 ended as Interrupted: ") and status["nextAttemptAt"]
    assert "jobName" not in status and await place.read_holder() == ""
    place.time_passed = timedelta(minutes=1)
    await reaches(place, operator, "a", "Running", "Starting")
    await place.publish_scores("a")
    await attempt_ends(place, operator, "a", 0)
    status = await reaches(place, operator, "a", "Completed", "Succeeded")
    first, second = status["attempts"]
    assert (first["number"], first["reason"], first["exitCode"]) == (1, "Interrupted", 137)
    assert (second["number"], second["reason"], second["exitCode"]) == (2, "Succeeded", 0)
    assert "nextAttemptAt" not in status
    assert sorted(job["metadata"]["name"][-3:] for job in await place.list_jobs("a")) == ["-a1", "-a2"]


async def test_attempts_are_used_up(place: OperatorNamespace) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", retries=1)
    operator = place.make_operator()
    await attempt_ends(place, operator, "a", 71)
    await reaches(place, operator, "a", "Queued", "Retrying")
    place.time_passed = timedelta(minutes=1)
    await attempt_ends(place, operator, "a", 69)
    status = await reaches(place, operator, "a", "Failed", "Unreachable")
    assert status["message"].endswith("(after 2 attempts)")
    assert [entry["reason"] for entry in status["attempts"]] == ["GPUError", "Unreachable"]


async def test_an_attempt_that_kept_answers_spends_no_retry_and_the_next_one_says_what_it_has(
    place: OperatorNamespace,
) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", retries=0)
    operator = place.make_operator()
    await reaches(place, operator, "a", "Running", "Starting")
    await place.report_stage("a", stage="Evaluating", updated_at=format_rfc3339(now_utc()), kept=5)
    await attempt_ends(place, operator, "a", 137)
    status = await reaches(place, operator, "a", "Queued", "Retrying")
    assert status["message"].startswith("attempt 1 of 2 ended as Interrupted, which spends no retry as it kept answers")
    assert (status["freeAttempts"], status["attempts"][0]["free"]) == (1, True) and "progress" not in status
    place.time_passed = timedelta(minutes=1)
    await reaches(place, operator, "a", "Running", "Starting")
    resumed = {"answers": 5, "fromAttempt": 1, "exactness": "exact"}
    at = format_rfc3339(now_utc())
    await place.report_stage("a", stage="Evaluating", updated_at=at, resumed=resumed, kept=0)

    async def told() -> bool:
        return bool((await place.read_status("a"))["attempts"][1].get("resumed") == resumed)

    await work_until(operator, told)
    await attempt_ends(place, operator, "a", 137)
    status = await reaches(place, operator, "a", "Failed", "Interrupted")
    assert status["message"].endswith("(after 2 attempts, 1 of which spent no retry)")


async def test_others_run_while_one_waits_for_its_next_attempt(place: OperatorNamespace) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", retries=1, priority=1)
    await place.submit("b")
    operator = place.make_operator()
    await attempt_ends(place, operator, "a", 137)
    await reaches(place, operator, "b", "Running", "Starting")
    assert await place.read_phase("a") == ("Queued", "Retrying")


async def test_cancel_and_hold_between_two_attempts(place: OperatorNamespace) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", retries=1)
    operator = place.make_operator()
    await attempt_ends(place, operator, "a", 137)
    await reaches(place, operator, "a", "Queued", "Retrying")
    await place.edit("a", hold=True)
    await reaches(place, operator, "a", "Queued", "OnHold")
    await place.edit("a", hold=False)
    await reaches(place, operator, "a", "Queued", "Retrying")
    await place.edit("a", cancel=True)
    status = await reaches(place, operator, "a", "Cancelled", "CancelledByUser")
    assert status["attempt"] == 1 and "nextAttemptAt" not in status
    assert status["attempts"][0]["reason"] == "Interrupted"


async def test_the_deadline_stops_a_run_for_good(place: OperatorNamespace) -> None:
    await place.submit("a", retries=2, timeoutSeconds=3600)
    operator = place.make_operator()
    await reaches(place, operator, "a", "Running", "Starting")
    pod = await place.bind("a")
    await place.set_pod_status(pod, phase="Running")
    place.time_passed = timedelta(hours=1)
    status = await reaches(place, operator, "a", "Running", "Cancelling")
    assert status["message"] == "spec.timeoutSeconds (3600) passed since the first start: waiting for the pod to end"
    await place.end_pod(pod, 143)
    status = await reaches(place, operator, "a", "Failed", "DeadlineExceeded")
    assert (status["attempt"], status["attempts"][0]["exitCode"]) == (1, 143)

    async def free() -> bool:
        return await place.read_holder() == ""

    await work_until(operator, free)


async def test_the_deadline_passes_between_two_attempts(place: OperatorNamespace) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=7200)
    await place.submit("a", retries=2, timeoutSeconds=3600)
    operator = place.make_operator()
    await attempt_ends(place, operator, "a", 137)
    await reaches(place, operator, "a", "Queued", "Retrying")
    place.time_passed = timedelta(hours=1)
    status = await reaches(place, operator, "a", "Failed", "DeadlineExceeded")
    assert status["attempt"] == 1


async def test_a_run_without_progress_is_stopped_whoever_writes_its_end(place: OperatorNamespace) -> None:
    await place.submit("a", retries=2, stallTimeoutSeconds=6)
    operator = place.make_operator()
    operator.view.steady_seconds = 0.5
    await reaches(place, operator, "a", "Running", "Starting")
    pod = await place.bind("a")
    await place.set_pod_status(pod, phase="Running", containerStatuses=[build_running_status()])
    await place.report_stage("a", stage="Evaluating", updated_at=format_rfc3339(now_utc()))
    await reaches(place, operator, "a", "Running", "Evaluating")
    status = await reaches(place, operator, "a", "Running", "Stalled")
    assert status["message"] == "no progress for spec.stallTimeoutSeconds (6): waiting for the pod to end"
    # Its last words: they must not be taken for progress, as the status says why it was stopped.
    await place.report_stage("a", stage="Publishing", updated_at=format_rfc3339(now_utc()))
    assert (await place.read_status("a"))["stoppedFor"] == "Stalled"
    await place.end_pod(pod, 75)
    status = await reaches(place, place.make_operator(), "a", "Failed", "Stalled")
    assert status["message"] == "no progress for spec.stallTimeoutSeconds (6)"
