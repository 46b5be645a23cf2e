"""Each policy, as a table of small worlds and what is to be done in them."""

from dataclasses import replace
from typing import Any

import pytest
from operator_builders import (
    conditions,
    ended,
    gated,
    job_of,
    moment,
    pod_of,
    queued,
    retrying,
    running,
    slot,
    working,
    world,
)

from lmms_eval_core.ordering import queue_key
from lmms_eval_core.phases import Phase, Reason
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
)
from lmms_eval_operator.derive import derive_cancelled
from lmms_eval_operator.objects import ContainerState, Evaluation, Event, ForeignContainer, Pod
from lmms_eval_operator.plan import plan
from lmms_eval_operator.slots import Slot
from lmms_eval_operator.view import EVENTS_SECONDS, KEPT_SECONDS, KnownEvents, View


def does(view: View, now: float = 0.0) -> list[Action]:
    return plan(view, moment(now))


def names(view: View, now: float = 0.0) -> list[str]:
    """The kinds of actions, for worlds in which nothing else can be meant."""
    return [type(action).__name__ for action in plan(view, moment(now))]


A, B = queued("a"), queued("b", priority=1)
RUNNING = running("a")
HELD = slot(0, RUNNING)
RUNNING_B = running("b")


# Start.


def test_an_empty_world_asks_for_nothing() -> None:
    assert does(world()) == []


def test_a_free_slot_goes_to_the_first_of_the_queue() -> None:
    view = world(A, B, queued("c", created_at="2025-01-01T00:00:00Z"))
    assert does(view) == [Claim(view.slots[0], B)]


def test_each_free_slot_gets_one() -> None:
    older = queued("c", created_at="2025-01-01T00:00:00Z")
    view = world(A, B, older, concurrency=2)
    assert does(view) == [Claim(view.slots[0], B), Claim(view.slots[1], older)]


def test_the_order_is_the_one_that_everybody_counts_positions_by() -> None:
    evaluations = [queued(name, priority=priority) for name, priority in (("x", 0), ("y", 2), ("z", -2), ("w", 2))]
    view = world(*evaluations, concurrency=4)
    claimed = [action.evaluation for action in does(view) if isinstance(action, Claim)]
    assert claimed == sorted(evaluations, key=queue_key)


@pytest.mark.parametrize(
    "evaluation", [queued("a", hold=True, reason="OnHold"), queued("a", deleting=True), queued("a", cancel=True)]
)
def test_who_must_not_start_gets_no_slot(evaluation: Evaluation) -> None:
    assert "Claim" not in names(world(evaluation))


def test_slots_beyond_the_concurrency_are_not_given_out() -> None:
    view = world(A, slot(0, B, attempt=1), slot(1), concurrency=1)
    assert "Claim" not in names(view)


@pytest.mark.parametrize(
    "pod", [working(running("gone"), deleting=True), pod_of(running("gone")), gated(running("gone"))]
)
def test_a_slot_is_busy_while_a_pod_that_names_it_has_not_ended(pod: Pod) -> None:
    assert "Claim" not in names(world(A, pod))
    assert "Claim" in names(world(A, replace(pod, slot=1)))


def test_a_slot_is_free_when_its_pods_have_ended_or_can_get_no_node_any_more() -> None:
    stranger = running("gone")
    assert names(world(A, job_of(stranger), ended(stranger, 0))) == ["Claim"]
    assert names(world(A, pod_of(stranger, deleting=True))) == ["Claim"]
    assert names(world(A, job_of(stranger))) == ["DeleteJob", "Claim"], "of a Job alone no pod gets past its gate"


def test_a_start_goes_step_by_step() -> None:
    held = slot(0, A, attempt=1, claimed_at=A.version)
    assert does(world(A, held)) == [CreateJob(held, A)]
    job, new = job_of(A, attempt=1), gated(A, attempt=1)
    assert does(world(A, held, job)) == [LookAgain(EVENTS_SECONDS)]
    assert does(world(A, held, job, new)) == [MarkRunning(A, job, new)]
    behind = gated(RUNNING)
    assert does(world(RUNNING, HELD, job_of(RUNNING), behind)) == [OpenGate(RUNNING, behind)]
    assert names(world(RUNNING, HELD, job_of(RUNNING), pod_of(RUNNING))) == ["LookAgain"]


def test_only_a_pod_of_this_very_job_that_can_still_run_is_written_down() -> None:
    held, job = slot(0, A, attempt=1, claimed_at=A.version), job_of(A, attempt=1)
    for changes in ({"job_uid": "another"}, {"deleting": True}):
        assert "MarkRunning" not in names(world(A, held, job, gated(A, attempt=1, **changes)))
    good = gated(A, attempt=1, uid="good", gate=1)
    assert does(world(A, held, job, gated(A, attempt=1, deleting=True), good))[0] == MarkRunning(A, job, good)


def test_why_a_job_gets_no_pod_is_told_while_its_evaluation_waits() -> None:
    view = world(A, slot(0, A, attempt=1, claimed_at=A.version), job_of(A, attempt=1), now=50.0)
    assert does(view, 50.0) == [LookAgain(EVENTS_SECONDS)]
    assert does(view, 55.0) == [ReadEvents("a-job-1")]
    view.pod_events["a-job-1"] = KnownEvents(55.0, ())
    view.refresh(55.0)
    report, _ = does(view, 55.0)
    assert isinstance(report, Report)
    assert (report.derived.phase, report.derived.reason) == ("Queued", "WaitingForTurn")
    assert report.derived.message == "waiting for the Job controller to create the pod"


def test_one_whose_pod_the_cluster_refuses_gives_its_slot_back() -> None:
    view = world(A, slot(0, A, attempt=1, claimed_at=A.version), job_of(A, attempt=1), now=50.0)
    view.pod_events["a-job-1"] = KnownEvents(
        55.0, (Event("FailedCreate", "forbidden: quota", "1"), Event("Other", "", "2"))
    )
    view.refresh(55.0)
    assert PutBack(view.slots[0], A, "forbidden: quota") in does(view, 55.0)


def test_a_start_by_an_earlier_operator_is_claimed_again_before_the_status_is_written() -> None:
    for held in (slot(0, A, attempt=1), slot(0, A, attempt=1, claimed_at="9")):
        assert does(world(A, held, job_of(A, attempt=1), gated(A, attempt=1))) == [Claim(held, A)]


@pytest.mark.parametrize("changes", [{"spent": True}, {"gated": False}])
def test_a_job_that_gets_no_pod_behind_a_gate_is_replaced(changes: dict[str, bool]) -> None:
    job, held = job_of(A, attempt=1, **changes), slot(0, A, attempt=1, claimed_at=A.version)
    assert DeleteJob(job) in does(world(A, held, job))
    assert "MarkRunning" not in names(world(A, held, job, pod_of(A, attempt=1, deleting=True)))
    assert "DeleteJob" not in names(world(A, held, replace(job, deleting=True)))


def test_of_two_claimed_slots_the_one_of_the_job_is_used_else_the_lowest() -> None:
    both = (slot(0, A, attempt=1, claimed_at=A.version), slot(1, A, attempt=1, claimed_at=A.version))
    assert does(world(A, *both, concurrency=2)) == [CreateJob(both[0], A)]
    job, pod = job_of(A, attempt=1, slot=1), gated(A, attempt=1, slot=1)
    assert does(world(A, *both, job, pod, concurrency=2)) == [MarkRunning(A, job, pod)]


def test_a_gate_is_opened_only_in_its_own_slot_of_the_one_pod_that_is_written_down() -> None:
    job, pod = job_of(RUNNING), gated(RUNNING)
    for evaluation, held in (
        (RUNNING, slot(0, RUNNING, attempt=2)),
        (RUNNING, slot(0)),
        (running("a", slot=1), HELD),
        (running("a", cancel=True), HELD),
        (running("a", stopped_for=Reason.STALLED), HELD),
        (running("a", pod_uid="another"), HELD),
        (running("a", pod_uid=""), HELD),
    ):
        assert "OpenGate" not in names(world(evaluation, held, job, pod))
    assert "OpenGate" not in names(world(RUNNING, HELD, job, replace(pod, deleting=True)))
    assert "OpenGate" not in names(world(RUNNING, HELD, job, working(RUNNING), gated(RUNNING, uid="second")))


# Stop.


def test_a_queued_evaluation_is_cancelled_at_once() -> None:
    evaluation = queued("a", cancel=True)
    assert does(world(evaluation)) == [EndQueued(evaluation, derive_cancelled(evaluation))]


@pytest.mark.parametrize("make", [working, gated])
def test_a_running_evaluation_is_stopped_by_deleting_its_pod(make: Any) -> None:
    for evaluation in (
        running("a", cancel=True),
        running("a", deleting=True),
        running("a", stopped_for=Reason.STALLED),
    ):
        job, pod, second = job_of(evaluation), make(evaluation), gated(evaluation, uid="second")
        ends = [action for action in does(world(evaluation, HELD, job, pod, second)) if isinstance(action, EndPod)]
        assert ends == [EndPod(evaluation, pod)]
        assert "EndPod" not in names(world(evaluation, HELD, job, replace(pod, deleting=True)))


# The user's timers. The builders' first start is at 00:01, their `moment` at 12:00.

HOUR = 3600


def test_the_deadline_counts_from_the_first_start_over_all_attempts() -> None:
    evaluation = running("a", attempt=2, timeout_seconds=12 * HOUR, started_at="2026-01-01T00:01:00Z")
    job = job_of(evaluation)
    view = world(evaluation, slot(0, evaluation), job, working(evaluation))
    assert LookAgain(60.0) in does(view)
    assert "Stop" not in names(view, 59.0)
    assert Stop(evaluation, Reason.DEADLINE_EXCEEDED) in does(view, 60.0)
    stopped = replace(evaluation, stopped_for=Reason.DEADLINE_EXCEEDED)
    assert "Stop" not in names(world(stopped, slot(0, evaluation), job, working(evaluation)), 60.0)
    done = world(evaluation, slot(0, evaluation), job, ended(evaluation, 0))
    assert names(done, 60.0) == ["Finish"]


def test_the_deadline_ends_what_waits_for_its_next_attempt() -> None:
    evaluation = retrying("a", timeout_seconds=HOUR)
    (end,) = (action for action in does(world(evaluation)) if isinstance(action, EndQueued))
    assert (end.derived.phase, end.derived.reason) == (Phase.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "EndQueued" not in names(world(retrying("a", timeout_seconds=HOUR + 1)))
    unwanted = retrying("a", timeout_seconds=HOUR, cancel=True)
    (end,) = (action for action in does(world(unwanted)) if isinstance(action, EndQueued))
    assert end.derived == derive_cancelled(unwanted)


def test_a_queued_evaluation_that_never_started_has_no_deadline() -> None:
    assert names(world(queued("b", timeout_seconds=1), HELD, RUNNING, job_of(RUNNING), working(RUNNING))) == ["Report"]


def stalling(**changes: Any) -> Evaluation:
    said: dict[str, Any] = {
        "reason": "Evaluating",
        "stage": "Evaluating",
        "progressed_at": "2026-01-01T12:00:00Z",
        "stall_timeout_seconds": 100,
    }
    return running("a", attempts=({"number": 1, "node": "n1"},), **(said | changes))


def test_no_progress_for_long_ends_the_run() -> None:
    evaluation = stalling()
    job = job_of(evaluation)
    view = world(evaluation, HELD, job, working(evaluation))
    assert does(view, 99.0) == [LookAgain(1.0)]
    assert does(view, 100.0) == [Stop(evaluation, Reason.STALLED)]


@pytest.mark.parametrize("minutes", [-6, 60])
def test_the_clock_of_the_node_neither_stops_a_run_nor_saves_one(minutes: int) -> None:
    def at(second: int) -> Evaluation:
        written = moment(second + 60 * minutes).time.isoformat()
        return stalling(progressed_at=written, version=str(10 + second))

    view = world(at(0), HELD, job_of(stalling()), working(stalling()))
    for second in range(10, 310, 10):
        view.evaluations.put(at(second))
        view.refresh(second)
        assert "Stop" not in names(view, second)
    assert does(view, 399.0) == [LookAgain(1.0)]
    assert "Stop" in names(view, 400.0)


@pytest.mark.parametrize(
    "evaluation",
    [
        stalling(stall_timeout_seconds=None),
        stalling(stage="Publishing", reason="Publishing"),
        stalling(stage="Starting", reason="Starting"),
        stalling(reported_attempt=0, reason="Starting"),
        stalling(reported=frozenset({"reportedAttempt", "progress", "scores"})),
        stalling(progressed_at=""),
    ],
)
def test_what_cannot_stall(evaluation: Evaluation) -> None:
    assert "Stop" not in names(world(evaluation, HELD, job_of(evaluation), working(evaluation)), 500.0)


def test_nobody_stalls_by_an_outage() -> None:
    evaluation = stalling()
    things = (evaluation, HELD, job_of(evaluation), working(evaluation))
    view = world(*things)
    view.record_outage()
    view.refresh(300.0)
    assert does(view, 330.0) == [LookAgain(30.0)]
    silent = replace(working(evaluation), conditions=conditions(Ready="False", ContainersReady="True"))
    assert "Stop" not in names(world(evaluation, HELD, job_of(evaluation), silent), 500.0)


# Another attempt.


def test_the_next_attempt_waits_for_its_time_and_holds_up_nobody() -> None:
    evaluation = retrying("a", next_attempt_at="2026-01-01T12:00:10Z")
    assert does(world(evaluation)) == [LookAgain(10.0)]
    view = world(evaluation)
    assert does(view, 10.0) == [Claim(view.slots[0], evaluation)]
    other = queued("b", priority=-1)
    view = world(evaluation, other)
    assert does(view) == [Claim(view.slots[0], other), LookAgain(10.0)]
    assert does(view, 10.0) == [Claim(view.slots[0], evaluation)]
    busy = world(evaluation, RUNNING_B, slot(0, RUNNING_B), job_of(RUNNING_B), working(RUNNING_B))
    assert LookAgain(10.0) not in does(busy)


def test_the_slot_of_an_attempt_that_is_tried_again_is_free() -> None:
    evaluation = retrying("a")
    held = slot(0, evaluation, attempt=1)
    spent = job_of(evaluation, attempt=1, spent=True)
    view = world(evaluation, held, spent, ended(evaluation, 137, attempt=1))
    assert Release(held) in does(view)


# Finish.


def test_an_attempt_that_is_over_is_finished_and_one_that_is_not_is_reported() -> None:
    job = job_of(RUNNING)
    assert does(world(RUNNING, HELD, job, ended(RUNNING, 65))) == [Finish(RUNNING)]
    (report,) = does(world(RUNNING, HELD, job, working(RUNNING)))
    assert isinstance(report, Report) and report.derived.facts.node == "n1"
    known = running("a", attempts=({"number": 1, "node": "n1"},))
    assert does(world(known, HELD, job, working(known))) == []


def test_an_attempt_whose_pod_is_gone_is_over_whatever_other_pod_its_job_gets() -> None:
    assert does(world(RUNNING, HELD)) == [Finish(RUNNING)]
    assert does(world(RUNNING, HELD, job_of(RUNNING), gated(RUNNING, uid="second"))) == [Finish(RUNNING)]


def test_another_job_of_the_same_name_is_not_the_one_that_ran() -> None:
    other = job_of(RUNNING, uid="other")
    assert does(world(RUNNING, HELD, other)) == [Finish(RUNNING), DeleteJob(other)]


def test_hold_shows_and_unshows() -> None:
    (report,) = does(world(queued("a", hold=True)))
    assert isinstance(report, Report) and report.derived.reason == "OnHold"
    view = world(queued("a", reason="OnHold", message="..."), slot(0, B, attempt=1))
    assert [action.derived.reason for action in does(view) if isinstance(action, Report)] == ["WaitingForTurn"]


def test_events_are_read_of_what_stays_silent_and_again_after_a_while() -> None:
    creating = pod_of(RUNNING, node="n1", evaluator=ContainerState(waiting="ContainerCreating"))
    known = running("a", attempts=({"number": 1, "node": "n1"},))
    view = world(known, HELD, job_of(RUNNING), creating, now=50.0)
    assert does(view, 50.0) == [LookAgain(EVENTS_SECONDS)]
    assert does(view, 60.0) == [ReadEvents(creating.uid)]
    view.pod_events[creating.uid] = KnownEvents(60.0, ())
    view.refresh(61.0)
    report, wait = does(view, 61.0)
    assert isinstance(report, Report) and report.derived.message == "waiting for node n1 to start the containers"
    assert wait == LookAgain(EVENTS_SECONDS - 1)


def test_a_pod_that_somebody_elses_container_keeps_is_ended_after_a_moment() -> None:
    runs = ContainerState(running=True)
    kept = working(
        RUNNING, evaluator=ContainerState(exit_code=0), foreign=(ForeignContainer("istio-proxy", runs, init=False),)
    )
    known = running("a", attempts=({"number": 1, "node": "n1"},))
    view = world(known, HELD, job_of(RUNNING), kept, now=50.0)
    report, wait = does(view, 50.0)
    assert isinstance(report, Report) and report.derived.reason == "Publishing"
    assert wait == LookAgain(KEPT_SECONDS)
    assert EndPod(known, kept) in does(view, 50.0 + KEPT_SECONDS)
    deleting = replace(kept, version="31", deleting=True)
    view = world(known, HELD, job_of(RUNNING), deleting, now=50.0)
    assert "EndPod" not in names(view, 60.0)


# Recover.


def test_a_slot_whose_attempt_is_over_is_released() -> None:
    view = world(HELD, job_of(RUNNING), ended(RUNNING, 0))
    assert Release(HELD) in does(view)
    view.ended_attempts.add((RUNNING.uid, 1))
    assert Release(HELD) in does(view)
    assert "Release" not in names(world(RUNNING, HELD, job_of(RUNNING), ended(RUNNING, 0)))


def test_a_slot_whose_attempt_is_over_goes_to_the_next_by_one_swap() -> None:
    view = world(B, HELD, job_of(RUNNING, spent=True), ended(RUNNING, 0))
    view.ended_attempts.add((RUNNING.uid, 1))
    assert does(view) == [Claim(HELD, B)]
    again = retrying("a")
    view = world(again, HELD)
    view.ended_attempts.add((again.uid, again.attempt))
    assert does(view, 100.0)[0] == Claim(HELD, again)


def test_a_slot_whose_attempt_is_over_waits_for_a_pod_of_it_and_a_surplus_one_is_released() -> None:
    new = job_of(A, attempt=1)
    view = world(B, slot(0, A, attempt=1), new, gated(A, attempt=1))
    view.ended_attempts.add((A.uid, 1))
    assert does(view) == [DeleteJob(new), Release(view.slots[0])]
    surplus = slot(1, RUNNING)
    view = world(B, slot(0, RUNNING_B), surplus, concurrency=1)
    view.ended_attempts.add((RUNNING.uid, 1))
    assert Release(surplus) in does(view) and "Claim" not in names(view)


def test_a_slot_whose_evaluation_is_gone_is_released_when_its_pods_are() -> None:
    for pod in (working(RUNNING), gated(RUNNING)):
        assert names(world(HELD, job_of(RUNNING), pod)) == ["DeleteJob"]
    assert names(world(HELD, working(RUNNING, deleting=True))) == []
    for job in ((), (job_of(RUNNING, spent=True),)):
        assert does(world(HELD, *job)) == [Release(HELD)]


def test_a_claim_is_released_when_its_evaluation_is_put_on_hold() -> None:
    held, evaluation = (
        slot(0, A, attempt=1),
        queued("a", hold=True, reason="OnHold", message="set spec.hold to false to let it run"),
    )
    assert does(world(evaluation, held)) == [Release(held)]
    new = job_of(A, attempt=1)
    assert does(world(evaluation, held, new, gated(A, attempt=1))) == [DeleteJob(new)]
    assert does(world(evaluation, held, gated(A, attempt=1, deleting=True))) == [Release(held)]


def test_a_slot_claimed_beside_the_one_it_runs_in_is_released() -> None:
    view = world(RUNNING, HELD, slot(1, RUNNING), job_of(RUNNING), working(RUNNING), concurrency=2)
    assert Release(view.slots[1]) in does(view) and Release(HELD) not in does(view)


def test_a_slot_of_an_attempt_that_its_evaluation_left_behind_is_released() -> None:
    second = running("a", attempt=2, slot=1)
    old = slot(0, RUNNING, attempt=1)
    view = world(
        second,
        old,
        slot(1, second),
        job_of(second, slot=1),
        job_of(second, attempt=1, spent=True),
        working(second, slot=1),
    )
    assert Release(old) in does(view)


def test_a_slot_with_a_content_that_names_no_attempt_is_released() -> None:
    odd = slot(0, content="somebody was here")
    assert does(world(odd)) == [Release(odd)]


@pytest.mark.parametrize("holder", [slot(0), slot(0, B, attempt=1), slot(0, RUNNING, attempt=2)])
def test_a_run_whose_slot_names_somebody_else_is_ended(holder: Slot) -> None:
    job = job_of(RUNNING)
    assert Stop(RUNNING, Reason.INTERRUPTED) in does(world(RUNNING, B, holder, job, working(RUNNING)))


def test_a_pod_without_a_job_is_ended_if_nobody_wants_it() -> None:
    pod = working(RUNNING)
    assert DeletePod(pod) in does(world(pod))
    assert DeletePod(pod) in does(world(pod, HELD, running("a", attempt=2)))
    assert DeletePod(pod) in does(world(pod, HELD, running("a", pod_uid="another")))
    assert DeletePod(pod) not in does(world(pod, HELD, RUNNING))
    assert does(world(working(RUNNING, deleting=True))) == []
    assert does(world(ended(RUNNING, 0))) == []


# Tidy.


def test_done_jobs_are_tidied_when_there_is_nothing_else_to_do() -> None:
    spent = job_of(running("y"), spent=True)
    assert does(world(spent)) == [ExpireJob(spent)]
    assert names(world(spent, A)) == ["Claim"]
    assert does(world(job_of(running("y"), spent=True, expires=True), job_of(running("x"), deleting=True))) == []


def test_the_job_of_an_attempt_that_has_no_end_yet_stays() -> None:
    assert "ExpireJob" not in names(world(RUNNING, HELD, job_of(RUNNING, spent=True), ended(RUNNING, 0)))
    assert "DeleteJob" not in names(world(RUNNING, HELD, job_of(RUNNING), working(RUNNING)))


def test_a_time_that_another_clock_wrote_keeps_nobody_for_longer_than_any_wait_is() -> None:
    evaluation = retrying("a", next_attempt_at="2026-01-01T15:00:00Z")
    view = world(evaluation)
    assert does(view, 0.0) == [LookAgain(300.0)]
    view.refresh(299.0)
    assert does(view, 299.0) == [LookAgain(1.0)]
    assert "Claim" in names(view, 300.0)


def test_one_whose_job_was_refused_is_looked_at_when_its_time_has_come() -> None:
    refused = queued("a", reason="JobRefused", message="no", next_attempt_at="2026-01-01T12:00:10Z")
    assert does(world(refused)) == [LookAgain(10.0)]
    assert names(world(refused), 10.0) == ["Claim"]
