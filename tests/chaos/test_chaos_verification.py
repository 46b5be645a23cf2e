"""The judge of chaos sees what it is there to see: a table of evaluations gone wrong, and of those that only look so."""

from types import SimpleNamespace
from typing import Any

import pytest
from chaos import summary
from chaos.final_state import Aftermath
from chaos.observer import Bound, Run, State, bound_of
from chaos.overlaps import by_the_kubelet, by_the_locks
from chaos.planned_evaluations import KINDS, Submission, submissions
from chaos.records import Answer, Entry, Ledger, Refusal
from chaos.verification import Case, breaches, refusal_breaches

from lmms_eval_core import names

KIND = {kind.name: kind for _, kind in KINDS}


def run(name: str, start: int, end: int | None, *, attempt: int = 1, pod: str = "") -> Run:
    moments = [f"2026-11-23T10:00:{second:02}Z" if second is not None else "" for second in (start, end)]
    return Run(name, f"uid-{name}", attempt, pod or f"{name}-a{attempt}", moments[0], moments[1], ran=True)


def attempt(number: int, reason: str) -> dict[str, Any]:
    return {"number": number, "reason": reason}


def completed(*attempts: dict[str, Any]) -> dict[str, Any]:
    return {
        "phase": "Completed",
        "reason": "Succeeded",
        "attempt": len(attempts),
        "attempts": [*attempts],
        "conditions": [{"type": "Complete", "status": "True"}],
        **dict.fromkeys(("scores", "artifacts", "summary"), "there"),
    }


def failed(*attempts: dict[str, Any]) -> dict[str, Any]:
    reason, conditions = attempts[-1]["reason"], [{"type": "Failed", "status": "True"}]
    return {"phase": "Failed", "reason": reason, "attempt": len(attempts), "attempts": [*attempts], "conditions": conditions}


def cancelled(number: int) -> dict[str, Any]:
    return {"phase": "Cancelled", "reason": "CancelledByUser", "attempt": number}


def case(
    status: dict[str, Any] | None, *, kind: str = "good", retries: int = 2, history: list[State] | None = None, **done: Any
) -> Case:
    runs, bound = done.pop("runs", []), done.pop("bound", [])
    entry = Entry(Submission("e", KIND[kind], retries, {}), "uid-e", **done)
    return Case(entry, history or [], runs, None if status is None else {"status": status}, bound)


GOOD = attempt(1, "Succeeded")
SECOND = attempt(2, "Succeeded")


@pytest.mark.parametrize(
    "right",
    [
        case(completed(GOOD)),
        case(completed(attempt(1, "Interrupted"), SECOND), hits=1),
        case(completed(attempt(1, "Unreachable"), SECOND), kind="flaky"),
        case(failed(attempt(1, "EvaluationError")), kind="raises"),
        case(failed(attempt(1, "PodDeleted"), attempt(2, "EvaluationError")), kind="raises", hits=1),
        case(failed(*(attempt(number, "Unreachable") for number in (1, 2, 3))), kind="away"),
        case(failed(attempt(1, "Interrupted")), retries=0, hits=1),
        case(cancelled(0), cancelled=Answer("Queued", 0)),
        case(cancelled(2), cancelled=Answer("Running", 2), hits=1),
        case(completed(GOOD), cancelled=Answer("Running", 1)),
        case(completed(GOOD), cancelled=Answer("Completed", 1)),
        case(None, deleted=True),
        case(completed(GOOD), history=[State("Queued", "JobRefused", 0), State("Completed", "Succeeded", 1)]),
        case(failed(attempt(1, "InvalidSpec")), kind="crowd"),
        case(completed(attempt(1, "PodDeleted"), SECOND), hits=1, bound=[Bound("uid-e", 1, "e-1"), Bound("uid-e", 2, "e-2")]),
    ],
)
def test_what_is_right(right: Case) -> None:
    assert not right.lost
    assert list(breaches(right)) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (case(completed(attempt(1, "Interrupted"), SECOND)), "struck 0 times"),
        (case(completed(attempt(1, "NodeLost"), attempt(2, "Interrupted"), attempt(3, "Succeeded")), hits=1), "struck 1 times"),
        (case(completed(attempt(1, "EvaluationError"), SECOND)), "tried again after attempt 1"),
        (case({**completed(GOOD), "scores": None} | {"conditions": []}), "conditions"),
        (case({key: value for key, value in completed(GOOD).items() if key != "artifacts"}), "without artifacts"),
        (case(completed(GOOD), kind="raises"), "though its run cannot"),
        (case(completed(GOOD), kind="flaky"), "though its run cannot"),
        (case(failed(attempt(1, "Interrupted")), hits=1), "in attempt 1 of 3"),
        (case(failed(attempt(1, "TaskNotFound"))), "its kind fails as Succeeded"),
        (case(cancelled(1)), "by nobody"),
        (case(completed(GOOD), cancelled=Answer("Queued", 0)), "had attempt 1"),
        (case(failed(attempt(1, "Interrupted")), cancelled=Answer("Running", 1), retries=0, hits=1), "was cancelled, and failed"),
        (case(completed(GOOD), started_on_hold=True), "on hold"),
        (case(completed(GOOD), bound=[Bound("uid-e", 1, "e-1"), Bound("uid-e", 1, "e-second")]), "two pods with a node"),
        (case(failed(attempt(1, "InvalidSpec"))), "its kind fails as Succeeded"),
        (case(completed(GOOD), kind="huge"), "had to say that it is too large"),
        (case(completed(GOOD), runs=[run("e", 1, 2, attempt=4)]), "had 4 attempts"),
        (case(completed(GOOD), history=[State("Failed", "x", 1), State("Completed", "y", 1)]), "went on after its end"),
    ],
)
def test_what_is_wrong(wrong: Case, words: str) -> None:
    assert any(words in breach for breach in breaches(wrong)), list(breaches(wrong))


@pytest.mark.parametrize(
    "lost",
    [
        case(None),
        case({"phase": "Running", "reason": "Starting"}),
        case({"phase": "Queued"}),
        case({"phase": "Queued", "reason": "JobRefused"}),
        case(cancelled(0), deleted=True),
    ],
)
def test_what_is_lost(lost: Case) -> None:
    assert lost.lost


def test_what_is_refused_is_judged_by_its_sentence() -> None:
    huge, good = (Submission(kind, KIND[kind], 0, {}) for kind in ("huge", "good"))
    assert list(refusal_breaches(Refusal(huge, "denied request: modelArgs.tensor_parallel_size is too large"))) == []
    (without,) = refusal_breaches(Refusal(huge, "denied request: no"))
    assert "without the words 'is too large': denied request: no" in without
    (sound,) = refusal_breaches(Refusal(good, "denied request: no"))
    assert "nothing is wrong with it" in sound


def test_what_is_refused_is_counted_as_that_and_is_not_lost() -> None:
    ledger = Ledger()
    ledger.refuse(Refusal(Submission("huge", KIND["huge"], 0, {}), "modelArgs.x is too large"))
    ledger.refuse(Refusal(Submission("good", KIND["good"], 0, {}), "no"))
    seen = SimpleNamespace(states={}, runs={}, bound=set())
    found = summary.result(ledger, seen, Aftermath({}, [], "", []), slots=1)
    assert (found.submitted, found.refused, found.lost) == (2, 2, [])
    assert found.wrong == ["good was refused, and nothing is wrong with it: no"] and not found.good
    summary.show(found)


def test_a_pod_behind_its_gate_has_no_node() -> None:
    labels = {names.LABEL_EVALUATION_UID: "uid-e", names.LABEL_ATTEMPT: "2"}
    pod: dict[str, Any] = {"metadata": {"name": "e-2", "labels": labels}, "spec": {}}
    assert bound_of(pod) is None
    pod["spec"]["nodeName"] = "n"
    assert bound_of(pod) == Bound("uid-e", 2, "e-2")


def test_overlaps_by_the_kubelet() -> None:
    one_after_the_other = [run("a", 1, 5), run("b", 5, 9), run("c", 9, 9), run("d", 9, 12), run("unseen", 2, None)]
    assert list(by_the_kubelet(one_after_the_other, slots=1)) == []
    together = [*one_after_the_other, run("e", 3, 4)]
    (sentence,) = by_the_kubelet(together, slots=1)
    assert "e attempt 1" in sentence and "a attempt 1" in sentence
    assert list(by_the_kubelet(together, slots=2)) == []
    assert len(list(by_the_kubelet([run("a", 1, 5), run("b", 1, 5)], slots=1))) == 1


def test_overlaps_by_the_locks() -> None:
    lines = ['{"event": "begins", "evaluation": "a", "attempt": 1}', '{"event": "overlaps", "evaluation": "b", "attempt": 2}']
    assert list(by_the_locks("\n".join(lines))) == ["b attempt 2 found every slot taken by a living process"]


def test_the_same_seed_gives_the_same_evaluations() -> None:
    first, again, other = (submissions(seed) for seed in (1, 1, 2))
    assert [next(first) for _ in range(20)] == [next(again) for _ in range(20)]
    assert [next(first).name for _ in range(20)] != [next(other).name for _ in range(20)]
