"""What the operator does for a gate: the condition at every end, and the wait for the baseline."""

from datetime import UTC, datetime
from typing import Any

import pytest
from operator_builders import moment, queued, running, slot, world

from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_operator import patches
from lmms_eval_operator.actions import Claim, Report
from lmms_eval_operator.derive import Derived
from lmms_eval_operator.event_recorder import build_gate_event
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.plan import plan
from lmms_eval_operator.view import View

NOW = "2026-01-01T02:00:00Z"
DONE = Derived(Phase.COMPLETED, Reason.SUCCEEDED)
PASSED = {"verdict": "Passed", "reason": "NotWorse", "message": "nothing is lost"}


def end(evaluation: Evaluation, derived: Derived) -> tuple[Object | None, Object | None]:
    """What an end writes: `status.gate`, and the condition GatePassed."""
    patch: Object = {item["path"]: item.get("value") for item in patches.build_end(evaluation, derived, NOW)}
    conditions = [item for item in patch["/status/conditions"] if item["type"] == "GatePassed"]
    return patch.get("/status/gate"), conditions[0] if conditions else None


def judged(**fields: Any) -> Evaluation:
    return running("a", has_gate=True, reported_attempt=1, **fields)


@pytest.mark.parametrize(("verdict", "status"), [("Passed", "True"), ("Failed", "False"), ("Inconclusive", "Unknown")])
def test_the_verdict_of_the_reporter_becomes_the_condition(verdict: str, status: str) -> None:
    written, condition = end(judged(gate=PASSED | {"verdict": verdict}), DONE)
    assert written is None, "the reporter's word stays as it is"
    assert condition is not None
    assert (condition["status"], condition["reason"], condition["message"]) == (status, "NotWorse", "nothing is lost")


def test_without_a_gate_there_is_no_condition() -> None:
    assert end(running("a", reported_attempt=1), DONE) == (None, None)


@pytest.mark.parametrize(
    ("evaluation", "derived", "reason"),
    [
        (judged(), DONE, "NotJudged"),
        (judged(gate={"verdict": "Splendid"}), DONE, "NotJudged"),
        # Of an earlier attempt.
        (running("a", has_gate=True, gate=PASSED), DONE, "NotJudged"),
        (judged(gate=PASSED), Derived(Phase.FAILED, Reason.OUT_OF_MEMORY), "NotCompleted"),
        (judged(), Derived(Phase.CANCELLED, Reason.CANCELLED_BY_USER), "NotCompleted"),
        (queued("a", has_gate=True), Derived(Phase.FAILED, Reason.INVALID_SPEC), "NotCompleted"),
    ],
)
def test_every_end_has_a_verdict(evaluation: Evaluation, derived: Derived, reason: str) -> None:
    written, condition = end(evaluation, derived)
    assert written is not None and condition is not None
    assert (written["verdict"], written["reason"]) == ("Inconclusive", reason)
    assert (condition["status"], condition["reason"]) == ("Unknown", reason)


def test_the_end_has_an_event_of_the_gate() -> None:
    ended = judged(phase=Phase.COMPLETED, reason="Succeeded")
    for verdict, kind in (("Passed", "Normal"), ("Failed", "Warning"), ("Inconclusive", "Normal")):
        gate = PASSED | {"verdict": verdict}
        now = datetime(2026, 1, 1, tzinfo=UTC)
        event = build_gate_event(ended, gate, namespace="team", instance="operator-0", now=now)
        assert (event["type"], event["reason"], event["message"]) == (kind, f"Gate{verdict}", "nothing is lost")


def act(view: View) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """Which evaluations get a slot, and what is reported of the others."""
    actions = plan(view, moment(0.0))
    claimed = [action.evaluation.name for action in actions if isinstance(action, Claim)]
    reports = [action for action in actions if isinstance(action, Report)]
    return claimed, {item.evaluation.name: (item.derived.reason.value, item.derived.message) for item in reports}


MAIN = queued("main", priority=-1)
CANDIDATE = queued("ckpt", has_gate=True, baseline="main", priority=5)
WAITS = ("WaitingForBaseline", "its baseline main is Queued (WaitingForTurn)")


def test_a_candidate_waits_for_its_baseline_whatever_its_priority() -> None:
    assert act(world(CANDIDATE, MAIN)) == (["main"], {"ckpt": WAITS})
    main = running("main")
    claimed, reports = act(world(CANDIDATE, main, slot(0, main), slot(1), concurrency=2))
    assert claimed == [] and reports["ckpt"][0] == "WaitingForBaseline"


def test_it_starts_when_the_baseline_has_ended_or_is_none() -> None:
    assert act(world(CANDIDATE)) == (["ckpt"], {})
    waited = queued("ckpt", has_gate=True, baseline="main", reason="WaitingForBaseline", message=WAITS[1])
    view = world(waited, MAIN)
    assert act(view) == (["main"], {})
    view.evaluations.remove(MAIN.uid, "99")
    assert act(view) == (["ckpt"], {"ckpt": ("WaitingForTurn", "")})


def test_nobody_waits_in_a_circle() -> None:
    circle = [queued(name, has_gate=True, baseline=other) for name, other in (("a", "b"), ("b", "c"), ("c", "a"))]
    beside = queued("d", has_gate=True, baseline="a", priority=9)
    claimed, reports = act(world(*circle, beside, concurrency=4))
    assert (sorted(claimed), list(reports)) == (["a", "b", "c"], ["d"])


def test_a_chain_is_worked_off_from_its_end() -> None:
    chain = [queued("b", has_gate=True, baseline="main"), queued("c", has_gate=True, baseline="b")]
    claimed, reports = act(world(MAIN, *chain, concurrency=3))
    assert (claimed, sorted(reports)) == (["main"], ["b", "c"])


def test_who_is_on_hold_is_told_so() -> None:
    held = queued("ckpt", has_gate=True, baseline="main", hold=True)
    assert act(world(held, MAIN))[1]["ckpt"][0] == "OnHold"
