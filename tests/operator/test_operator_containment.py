"""What is wrong with one object is that object's affair: the loop goes on, the others have their turn,
and it is told.
"""

import importlib
import json
from typing import Any

import pytest
from fake_api_server import FakeCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operator_builders import job_of, pod_of, queued, running, slot, working
from schema_strategies import evaluations
from simulation import SimulatedOperator, run_rounds, submit_evaluation

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, Object
from lmms_eval_operator import main, transitions
from lmms_eval_operator.actions import LookAgain, TellDefect
from lmms_eval_operator.metrics import OperatorMetrics
from lmms_eval_operator.plan.contain import apply_to_each

# The package gives the name to the policy itself.
finish = importlib.import_module("lmms_eval_operator.plan.finish")

pytestmark = pytest.mark.timeout(120)

ANNOTATIONS = st.dictionaries(
    st.sampled_from([names.ANNOTATION_CANCELLED_BY, names.ANNOTATION_REQUEST, names.ANNOTATION_SUBMISSION]),
    st.text(max_size=20) | st.sampled_from(["[" * 300, "x" * 5000, "\u202e\x1b[2J"]),
)


def status(cluster: FakeCluster, name: str) -> Object:
    found: Object = cluster.get(EVALUATIONS, name)["status"]
    return found


@pytest.mark.search
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=evaluations("spec"), known=evaluations("status"), annotations=ANNOTATIONS)
def test_nothing_that_is_accepted_holds_up_another_evaluation(
    spec: Object, known: Object, annotations: dict[str, str]
) -> None:
    cluster = FakeCluster()
    odd = submit_evaluation(cluster, "odd")
    odd |= {"spec": spec, "status": {"phase": "Queued", "reason": "WaitingForTurn", **known}}
    odd["metadata"]["annotations"] = annotations
    cluster.store(EVALUATIONS, odd)
    submit_evaluation(cluster, "good", priority=-100)
    operator = SimulatedOperator(cluster, 1)
    for _ in range(60):
        run_rounds(cluster, operator, seconds=61)
        if status(cluster, "good")["phase"] == "Completed":
            return
    raise AssertionError(f"held up by {json.dumps(status(cluster, 'odd'))}, slots {operator.view.slots}")


def test_a_poison_pill_ends_as_invalid_and_the_next_one_runs() -> None:
    cluster = FakeCluster()
    sizes = {"tensor_parallel_size": "9" * 4096, "data_parallel_size": "9" * 4096}
    submit_evaluation(cluster, "pill", modelArgs=sizes, priority=1)
    submit_evaluation(cluster, "good")
    run_rounds(cluster, SimulatedOperator(cluster, 1), 3, seconds=1)
    pill = status(cluster, "pill")
    assert (pill["phase"], pill["reason"]) == ("Failed", "InvalidSpec")
    assert pill["message"].startswith("modelArgs.tensor_parallel_size must be at most 64")
    assert status(cluster, "good")["phase"] == "Completed"


def test_a_defect_before_the_start_ends_it_as_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    submit_evaluation(cluster, "odd", priority=1)
    submit_evaluation(cluster, "good")
    operator = SimulatedOperator(cluster, 1)
    made = operator.reconciler.executor._build_job

    def manifest(found: Object, attempt: int, slot: int) -> Object:
        if found["metadata"]["name"] == "odd":
            raise KeyError("no such key")
        return made(found, attempt, slot)

    monkeypatch.setattr(operator.reconciler.executor, "_build_job", manifest)
    run_rounds(cluster, operator, 3, seconds=1)
    odd = status(cluster, "odd")
    assert (odd["phase"], odd["reason"]) == ("Failed", "InvalidSpec")
    assert odd["message"] == "no Job can be made of this evaluation: KeyError: 'no such key'"
    assert status(cluster, "good")["phase"] == "Completed"


def test_a_defect_of_a_policy_is_told_backed_off_and_over_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, told = FakeCluster(), []
    for name in ("odd", "good"):
        submit_evaluation(cluster, name)
    operator = SimulatedOperator(cluster, 2)
    operator.reconciler.on_failure = lambda action, how: told.append((action, how))
    run_rounds(cluster, operator, 1, seconds=0)
    derive = finish.derive
    broken = True

    def deriving(evaluation: Any, *rest: Any) -> Any:
        if broken and evaluation.name == "odd":
            raise ValueError("out of\x1b[31m reach")
        return derive(evaluation, *rest)

    monkeypatch.setattr(finish, "derive", deriving)
    for _ in range(5):
        run_rounds(cluster, operator, 1, seconds=0)
    assert status(cluster, "good")["phase"] == "Completed"
    odd = status(cluster, "odd")
    assert odd["phase"] == "Running"
    assert (
        odd["message"] == "the operator could not decide what to do with it and tries again: ValueError: out of reach"
    )
    assert told == [("TellDefect", "defect")], "it was tried once in this time"
    cluster.now += 6
    run_rounds(cluster, operator, 2, seconds=0)
    assert len(told) == 2
    broken = False
    run_rounds(cluster, operator, 2, seconds=61)
    assert status(cluster, "odd")["phase"] == "Completed"


def test_a_failing_action_does_not_keep_old_jobs_from_being_tidied(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    submit_evaluation(cluster, "odd", hold=True)
    submit_evaluation(cluster, "good")
    operator = SimulatedOperator(cluster, 1)
    derive_queued = finish.derive_queued

    def queueing(evaluation: Any) -> Any:
        if evaluation.name == "odd":
            raise ValueError
        return derive_queued(evaluation)

    monkeypatch.setattr(finish, "derive_queued", queueing)
    run_rounds(cluster, operator, 4, seconds=1)
    assert status(cluster, "good")["phase"] == "Completed"
    (job,) = cluster.objects[JOBS].values()
    assert job["spec"]["ttlSecondsAfterFinished"]


async def test_an_object_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()
    unreadable = submit_evaluation(cluster, "odd")
    unreadable["status"] = {"phase": "Sideways"}
    cluster.store(EVALUATIONS, unreadable)
    submit_evaluation(cluster, "good")
    operator = SimulatedOperator(cluster, 1)
    failed: list[tuple[str, str]] = []
    operator.reconciler.on_failure = lambda action, how: failed.append((action, how))
    run_rounds(cluster, operator, 3, seconds=1)
    assert status(cluster, "good")["phase"] == "Completed"
    main.make_sink(operator.reconciler, lambda: None)(EVALUATIONS, False, unreadable)
    assert failed == [("Learn", "defect")]
    assert "cannot read an object" in caplog.text


def test_who_is_told_of_a_move_and_fails_makes_nothing_fail() -> None:
    heard: list[str] = []

    def fails(before: Any, after: Any) -> None:
        raise ZeroDivisionError

    cluster = FakeCluster()
    submit_evaluation(cluster, "a")
    operator = SimulatedOperator(cluster, 1)
    executor = operator.reconciler.executor
    executor._on_status_written = transitions.notify_listeners(fails, lambda before, after: heard.append(after.phase))
    run_rounds(cluster, operator, 2, seconds=1)
    assert heard[0] == "Running" and heard[-1] == "Completed"


def test_failures_are_counted_by_action_and_cause() -> None:
    of = OperatorMetrics(SimulatedOperator(FakeCluster(), 1).view, leading=lambda: True, time=FakeCluster().time)
    of.record_failure("CreateJob", "refused")
    assert 'lmmseval_action_failures_total{action="CreateJob",cause="refused"} 1.0' in of.render().decode()


def test_a_policy_that_fails_over_one_thing_goes_on_with_the_next() -> None:
    run = running("a")
    kinds: list[list[Any]] = [
        [run, queued("b")],
        [job_of(run), job_of(run, attempt=2)],
        [working(run), pod_of(run, attempt=2)],
    ]
    for first, second in [*kinds, [slot(0, run), slot(1)], [slot(0), slot(1)]]:

        def fails(subject: Any, broken: Any = first) -> list[LookAgain]:
            return [LookAgain(1.0)] if subject is not broken else [][0]

        defect, other = apply_to_each(fails, [first, second])
        assert isinstance(defect, TellDefect) and isinstance(defect.error, IndexError)
        assert (defect.policy, defect.uid) == ("fails", "" if first == slot(0) else run.uid)
        assert other == LookAgain(1.0)


def test_what_cannot_even_be_told_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    submit_evaluation(cluster, "odd", priority=1)
    submit_evaluation(cluster, "good")
    operator = SimulatedOperator(cluster, 2)
    run_rounds(cluster, operator, 1, seconds=0)
    executor, derive = operator.reconciler.executor, finish.derive

    def deriving(evaluation: Any, *rest: Any) -> Any:
        return derive(evaluation, *rest) if evaluation.name != "odd" else [][0]

    async def telling(uid: str, message: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(finish, "derive", deriving)
    monkeypatch.setattr(executor, "report_failure", telling)
    run_rounds(cluster, operator, 3, seconds=1)
    assert status(cluster, "good")["phase"] == "Completed"
