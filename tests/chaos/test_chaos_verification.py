"""The verification of a campaign: correct evaluations yield no violation, and incorrect ones the right violation."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from chaos import summary
from chaos.final_state import FinalState
from chaos.observer import BoundPod, ClusterObserver, EvaluationState, PodRun, read_bound_pod
from chaos.planned_evaluations import KINDS, PlannedEvaluation, generate_evaluations
from chaos.records import CampaignRecords, EvaluationRecord, RefusedEvaluation, StatusSnapshot
from chaos.verification import (
    ObservedEvaluation,
    find_lock_overlaps,
    find_pod_overlaps,
    find_refusal_violations,
    find_violations,
    verify_campaign,
)

from lmms_eval_core import names

KIND = {kind.name: kind for _, kind in KINDS}


def pod_run(name: str, start: int, end: int | None, *, attempt: int = 1, pod: str = "") -> PodRun:
    times = [f"2026-11-23T10:00:{second:02}Z" if second is not None else "" for second in (start, end)]
    return PodRun(name, f"uid-{name}", attempt, pod or f"{name}-a{attempt}", times[0], times[1], evaluator_started=True)


def attempt(number: int, reason: str) -> dict[str, Any]:
    return {"number": number, "reason": reason}


def completed(*attempts: dict[str, Any]) -> dict[str, Any]:
    return {
        "phase": "Completed",
        "reason": "Succeeded",
        "attempt": len(attempts),
        "attempts": [*attempts],
        "conditions": [{"type": "Complete", "status": "True"}],
        **dict.fromkeys(("artifacts", "summary"), "there"),
        "scores": scores("good"),
    }


def scores(kind: str) -> dict[str, Any]:
    return {
        task: {metric: {"value": value, "stderr": None} for metric, value in metrics.items()}
        for task, metrics in KIND[kind].scores.items()
    }


def failed(*attempts: dict[str, Any]) -> dict[str, Any]:
    reason, conditions = attempts[-1]["reason"], [{"type": "Failed", "status": "True"}]
    return {
        "phase": "Failed",
        "reason": reason,
        "attempt": len(attempts),
        "attempts": [*attempts],
        "conditions": conditions,
    }


def failed_before_any_attempt(reason: str) -> dict[str, Any]:
    return {"phase": "Failed", "reason": reason, "conditions": [{"type": "Failed", "status": "True"}]}


def cancelled(number: int) -> dict[str, Any]:
    return {"phase": "Cancelled", "reason": "CancelledByUser", "attempt": number}


def observed(
    status: dict[str, Any] | None,
    *,
    kind: str = "good",
    retries: int = 2,
    history: list[EvaluationState] | None = None,
    runs: list[PodRun] | None = None,
    bound: list[BoundPod] | None = None,
    **record: Any,
) -> ObservedEvaluation:
    evaluation_record = EvaluationRecord(PlannedEvaluation("e", KIND[kind], retries, {}), "uid-e", **record)
    final_object = None if status is None else {"status": status}
    return ObservedEvaluation(evaluation_record, history or [], runs or [], final_object, bound or [])


def bound_pods(*attempts: int) -> list[BoundPod]:
    return [BoundPod("uid-e", number, f"e-{index}") for index, number in enumerate(attempts)]


GOOD = attempt(1, "Succeeded")
SECOND = attempt(2, "Succeeded")
NODE_LOST = attempt(1, "NodeLost")
INTERRUPTED = attempt(1, "Interrupted")
INTERRUPTED_AGAIN = attempt(2, "Interrupted")
QUEUED = StatusSnapshot("Queued", 0)
RUNNING = StatusSnapshot("Running", 1)
REFUSED_THEN_COMPLETED = [EvaluationState("Queued", "JobRefused", 0), EvaluationState("Completed", "Succeeded", 1)]
COMPLETED_AFTER_FAILED = [EvaluationState("Failed", "x", 1), EvaluationState("Completed", "y", 1)]


@pytest.mark.parametrize(
    "right",
    [
        observed(completed(GOOD)),
        observed(completed(INTERRUPTED, SECOND), fault_hits=1),
        observed(completed(attempt(1, "Unreachable"), SECOND), kind="flaky"),
        observed(completed(GOOD) | {"scores": scores("suspect")}, kind="suspect"),
        observed(completed(INTERRUPTED, SECOND) | {"freeAttempts": 1}, retries=0, fault_hits=1),
        observed(None, retries=0, history=[EvaluationState("Running", "Starting", 2, 1)], deleted=True),
        observed(failed(attempt(1, "EvaluationError")), kind="raises"),
        observed(failed(attempt(1, "PodDeleted"), attempt(2, "EvaluationError")), kind="raises", fault_hits=1),
        observed(failed(*(attempt(number, "Unreachable") for number in (1, 2, 3))), kind="away"),
        observed(failed(INTERRUPTED), retries=0, fault_hits=1),
        observed(cancelled(0), cancelled=QUEUED),
        observed(cancelled(2), cancelled=StatusSnapshot("Running", 2), fault_hits=1),
        observed(completed(GOOD), cancelled=RUNNING),
        observed(completed(GOOD), cancelled=StatusSnapshot("Completed", 1)),
        observed(None, deleted=True),
        observed(completed(GOOD), history=REFUSED_THEN_COMPLETED),
        observed(failed_before_any_attempt("InvalidSpec"), kind="crowd"),
        observed(completed(attempt(1, "PodDeleted"), SECOND), fault_hits=1, bound=bound_pods(1, 2)),
    ],
)
def test_a_correct_evaluation_has_no_violation(right: ObservedEvaluation) -> None:
    assert not right.is_lost
    assert list(find_violations(right)) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (observed(completed(INTERRUPTED, SECOND)), "was hit 0 times"),
        (observed(completed(NODE_LOST, INTERRUPTED_AGAIN, attempt(3, "Succeeded")), fault_hits=1), "was hit 1 times"),
        (observed(completed(attempt(1, "EvaluationError"), SECOND)), "tried again after attempt 1"),
        (observed(completed(GOOD) | {"conditions": []}), "conditions"),
        (observed({key: value for key, value in completed(GOOD).items() if key != "scores"}), "without scores"),
        (observed(completed(GOOD) | {"scores": scores("suspect")}), "completed with the scores {'stub_vqa': "),
        (observed(completed(INTERRUPTED, SECOND), retries=0, fault_hits=1), "had 2 attempts, and 1 were allowed"),
        (observed(failed(INTERRUPTED) | {"freeAttempts": 1}, retries=0, fault_hits=1), "in attempt 1 of 2"),
        (observed({key: value for key, value in completed(GOOD).items() if key != "artifacts"}), "without artifacts"),
        (observed(completed(GOOD), kind="raises"), "though its run cannot"),
        (observed(completed(GOOD), kind="flaky"), "though its run cannot"),
        (observed(failed(INTERRUPTED), fault_hits=1), "in attempt 1 of 3"),
        (observed(failed(attempt(1, "TaskNotFound"))), "its kind fails as Succeeded"),
        (observed(cancelled(1)), "by nobody"),
        (observed(completed(GOOD), cancelled=QUEUED), "had attempt 1"),
        (observed(failed(INTERRUPTED), cancelled=RUNNING, retries=0, fault_hits=1), "was cancelled, and failed"),
        (observed(completed(GOOD), started_on_hold=True), "on hold"),
        (observed(completed(GOOD), bound=bound_pods(1, 1)), "two pods with a node"),
        (observed(failed_before_any_attempt("InvalidSpec")), "its kind fails as Succeeded"),
        (observed(completed(GOOD), kind="huge"), "had to say that it is too large"),
        (observed(completed(GOOD), runs=[pod_run("e", 1, 2, attempt=4)]), "had 4 attempts"),
        (observed(completed(GOOD), history=COMPLETED_AFTER_FAILED), "went on after its end"),
    ],
)
def test_an_incorrect_evaluation_has_a_violation(wrong: ObservedEvaluation, words: str) -> None:
    assert any(words in violation for violation in find_violations(wrong)), list(find_violations(wrong))


@pytest.mark.parametrize(
    "lost",
    [
        observed(None),
        observed({"phase": "Running", "reason": "Starting"}),
        observed({"phase": "Queued"}),
        observed({"phase": "Queued", "reason": "JobRefused"}),
        observed(cancelled(0), deleted=True),
    ],
)
def test_an_evaluation_is_lost(lost: ObservedEvaluation) -> None:
    assert lost.is_lost


def test_a_refusal_is_verified_by_its_message() -> None:
    huge, good = (PlannedEvaluation(kind, KIND[kind], 0, {}) for kind in ("huge", "good"))
    message = "denied request: modelArgs.tensor_parallel_size is too large"
    assert list(find_refusal_violations(RefusedEvaluation(huge, message))) == []
    (other_words,) = find_refusal_violations(RefusedEvaluation(huge, "denied request: no"))
    assert "without the words 'is too large': denied request: no" in other_words
    (unexpected,) = find_refusal_violations(RefusedEvaluation(good, "denied request: no"))
    assert "nothing is wrong with it" in unexpected


def test_a_refused_evaluation_is_counted_as_refused_and_is_not_lost() -> None:
    records = CampaignRecords()
    records.add_refusal(RefusedEvaluation(PlannedEvaluation("huge", KIND["huge"], 0, {}), "modelArgs.x is too large"))
    records.add_refusal(RefusedEvaluation(PlannedEvaluation("good", KIND["good"], 0, {}), "no"))
    observer = cast(ClusterObserver, SimpleNamespace(histories={}, pod_runs={}, bound_pods=set()))
    result = verify_campaign(records, observer, FinalState({}, [], "", []), slots=1)
    assert (result.submitted, result.refused, result.lost) == (2, 2, [])
    assert result.wrong_states == ["good was refused, and nothing is wrong with it: no"] and not result.has_passed
    summary.print_result(result)


def test_a_pod_with_a_scheduling_gate_has_no_node() -> None:
    labels = {names.LABEL_EVALUATION_UID: "uid-e", names.LABEL_ATTEMPT: "2"}
    pod: dict[str, Any] = {"metadata": {"name": "e-2", "labels": labels}, "spec": {}}
    assert read_bound_pod(pod) is None
    pod["spec"]["nodeName"] = "n"
    assert read_bound_pod(pod) == BoundPod("uid-e", 2, "e-2")


def test_overlaps_are_found_by_the_times_of_the_kubelet() -> None:
    consecutive = [
        pod_run("a", 1, 5),
        pod_run("b", 5, 9),
        pod_run("c", 9, 9),
        pod_run("d", 9, 12),
        pod_run("unobserved", 2, None),
    ]
    assert list(find_pod_overlaps(consecutive, slots=1)) == []
    overlapping = [*consecutive, pod_run("e", 3, 4)]
    (sentence,) = find_pod_overlaps(overlapping, slots=1)
    assert "e attempt 1" in sentence and "a attempt 1" in sentence
    assert list(find_pod_overlaps(overlapping, slots=2)) == []
    assert len(list(find_pod_overlaps([pod_run("a", 1, 5), pod_run("b", 1, 5)], slots=1))) == 1


def test_overlaps_are_found_by_the_locks_of_the_runs() -> None:
    lines = [
        '{"event": "begins", "evaluation": "a", "attempt": 1}',
        '{"event": "overlaps", "evaluation": "b", "attempt": 2}',
    ]
    sentence = "b attempt 2 found every slot taken by a living process"
    assert list(find_lock_overlaps("\n".join(lines))) == [sentence]


def test_the_same_seed_gives_the_same_evaluations() -> None:
    first, again, other = (generate_evaluations(seed) for seed in (1, 1, 2))
    assert [next(first) for _ in range(20)] == [next(again) for _ in range(20)]
    assert [next(first).name for _ in range(20)] != [next(other).name for _ in range(20)]
