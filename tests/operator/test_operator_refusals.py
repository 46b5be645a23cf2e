"""A cluster that does not take a Job: nobody's evaluation fails by it, it is told, and the others have their turn."""

from collections.abc import Callable
from typing import Any

import pytest
from fake_api_server import FakeCluster, FakeKubeClient
from operator_builders import moment, queued, running, slot, working, world
from simulation import SimulatedOperator, run_rounds, start_attempts, submit_evaluation

from lmms_eval_core import names
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES, PODS, Object, Resource
from lmms_eval_core.schema import parse_moment
from lmms_eval_operator.actions import Claim, LookAgain, Report
from lmms_eval_operator.plan import plan
from lmms_eval_operator.refusals import Refusals

# As a real API server says it, and the class that the client makes of it.
DENIED = "ValidatingAdmissionPolicy 'no-jobs' with binding 'b' denied request: no team label"
POLICY = errors.make_error(
    422,
    {"message": f'jobs.batch "x" is forbidden: {DENIED}', "details": {"name": "x", "causes": [{"message": DENIED}]}},
)
WEBHOOK = errors.make_error(400, {"message": 'admission webhook "kyverno.svc" denied the request: no team label'})
GATEKEEPER = errors.make_error(403, {"message": 'admission webhook "gatekeeper.sh" denied the request: no team label'})
QUOTA = errors.make_error(
    403, {"message": 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs.batch=1'}
)
AWAY = errors.make_error(
    500, {"message": 'Internal error occurred: failed calling webhook "a.b": connect: connection refused'}
)
OWN = errors.make_error(
    422,
    {
        "message": 'Job.batch "x" is invalid: spec.template: too bad',
        "details": {"causes": [{"field": "spec.template"}]},
    },
)


def status(cluster: FakeCluster, name: str) -> Object:
    found: Object = cluster.get(EVALUATIONS, name)["status"]
    return found


def of(job: Object) -> str:
    return str(job["metadata"]["labels"][names.LABEL_EVALUATION])


def refusing(error: errors.KubeError, *refused: str) -> Callable[[Object], errors.KubeError | None]:
    return lambda job: error if not refused or of(job) in refused else None


@pytest.mark.parametrize("error", [POLICY, WEBHOOK, GATEKEEPER, QUOTA, AWAY], ids=lambda error: type(error).__name__)
def test_one_that_is_refused_waits_with_the_api_servers_sentence_and_the_next_one_runs(error: errors.KubeError) -> None:
    cluster = FakeCluster(job_admission=refusing(error, "odd"))
    submit_evaluation(cluster, "odd", priority=1)
    submit_evaluation(cluster, "good", limit=2)
    operator = SimulatedOperator(cluster, 1)
    run_rounds(cluster, operator, 3, seconds=1)
    odd = status(cluster, "odd")
    assert (odd["phase"], odd["reason"]) == ("Queued", "JobRefused")
    assert error.message in odd["message"] and "status.nextAttemptAt" in odd["message"]
    due = parse_moment(odd["nextAttemptAt"])
    assert due is not None and 5 < (due - cluster.time()).total_seconds() <= 10
    assert status(cluster, "good")["phase"] == "Completed"
    cluster.job_admission = lambda job: None
    run_rounds(cluster, operator, 4, seconds=11)
    odd = status(cluster, "odd")
    assert (odd["phase"], odd["attempt"], "nextAttemptAt" in odd) == ("Completed", 1, False)


def test_a_job_that_the_api_server_itself_finds_invalid_is_the_specs_fault() -> None:
    cluster = FakeCluster(job_admission=refusing(OWN, "odd"))
    submit_evaluation(cluster, "odd")
    run_rounds(cluster, SimulatedOperator(cluster, 1), 2, seconds=1)
    assert status(cluster, "odd")["reason"] == "InvalidSpec"


def test_one_that_is_refused_again_waits_longer_each_time() -> None:
    cluster = FakeCluster(job_admission=refusing(QUOTA))
    submit_evaluation(cluster, "a")
    run_rounds(cluster, SimulatedOperator(cluster, 1), 200, seconds=1)
    # At 0, 10, 30, 70 and 150 s, and the seconds that the clock's whole ones make.
    assert cluster.offered_jobs == ["a"] * 5
    assert len([slot for slot in cluster.objects[JOBS]]) == 0


def test_several_different_specs_pause_the_queue_and_the_first_in_it_says_so() -> None:
    cluster = FakeCluster(job_admission=refusing(POLICY))
    for number in range(6):
        submit_evaluation(cluster, f"e{number}", limit=number + 1)
    operator = SimulatedOperator(cluster, 1)
    run_rounds(cluster, operator, 4, seconds=1)
    assert cluster.offered_jobs == ["e0", "e1", "e2"]
    first, second = status(cluster, "e3"), status(cluster, "e4")
    assert (first["phase"], first["reason"]) == ("Queued", "QueuePaused")
    assert first["message"].startswith(
        "the cluster refused the Jobs of 3 different evaluations; none is tried for 30 s."
    )
    assert POLICY.message in first["message"]
    assert second["reason"] == "WaitingForTurn"
    run_rounds(cluster, operator, 31, seconds=1)
    assert len(cluster.offered_jobs) == 4, "after the pause one is tried"
    cluster.job_admission = lambda job: None
    run_rounds(cluster, operator, 20, seconds=20)
    assert {status(cluster, f"e{number}")["phase"] for number in range(6)} == {"Completed"}


def test_the_same_spec_again_and_again_pauses_nobody() -> None:
    cluster = FakeCluster(job_admission=lambda job: POLICY if of(job).startswith("same") else None)
    for number in range(5):
        submit_evaluation(cluster, f"same{number}", priority=1)
    submit_evaluation(cluster, "good", limit=3)
    run_rounds(cluster, SimulatedOperator(cluster, 1), 3, seconds=1)
    assert status(cluster, "good")["phase"] == "Completed"
    assert {status(cluster, f"same{number}")["reason"] for number in range(5)} == {"JobRefused"}


def test_a_cancel_ends_one_that_is_refused_and_a_hold_keeps_it() -> None:
    cluster = FakeCluster(job_admission=refusing(POLICY))
    submit_evaluation(cluster, "a")
    submit_evaluation(cluster, "b")
    operator = SimulatedOperator(cluster, 1)
    run_rounds(cluster, operator, 2, seconds=1)
    for name, change in (("a", {"cancel": True}), ("b", {"hold": True})):
        item = cluster.get(EVALUATIONS, name)
        item["spec"] |= change
        cluster.store(EVALUATIONS, item)
    run_rounds(cluster, operator, 2, seconds=20)
    assert status(cluster, "a")["phase"] == "Cancelled"
    assert status(cluster, "b")["reason"] == "OnHold"


def test_an_operator_that_dies_before_it_hands_the_slot_on_leaves_nothing_behind() -> None:
    cluster = FakeCluster(job_admission=refusing(POLICY, "odd"))
    submit_evaluation(cluster, "odd", priority=1)
    submit_evaluation(cluster, "good")
    first = SimulatedOperator(cluster, 1)
    first.deliver_events(len(cluster.log))
    while status(cluster, "odd")["reason"] != "JobRefused":
        first.step()
    first.work.close()
    run_rounds(cluster, SimulatedOperator(cluster, 1), 4, seconds=1)
    assert status(cluster, "good")["phase"] == "Completed"
    assert status(cluster, "odd")["reason"] == "JobRefused"


def test_a_slot_that_somebody_claimed_again_is_not_handed_on() -> None:
    refused = queued("a", reason="JobRefused", message="no", next_attempt_at="2026-01-01T12:00:10Z")
    view = world(refused, queued("b"), slot(0, refused, attempt=1))
    view.returned_leases.add((0, "5"))
    assert [type(action) for action in plan(view, moment()) if not isinstance(action, LookAgain)] == [Claim]
    view = world(refused, queued("b"), slot(0, refused, attempt=1))
    view.returned_leases.add((0, "4"))
    assert not any(isinstance(action, Claim) and action.evaluation.name == "b" for action in plan(view, moment()))


class WebhookAway(FakeKubeClient):
    """The webhook for changes of one evaluation's pod does not answer."""

    async def json_patch(self, resource: Resource, name: str, patch: Any, *, subresource: str = "") -> Object:
        if resource is PODS and name.startswith("odd"):
            raise AWAY
        return await super().json_patch(resource, name, patch, subresource=subresource)


def test_a_webhook_that_is_away_is_the_trouble_of_one_action_and_is_told() -> None:
    cluster = FakeCluster()
    for name in ("odd", "good"):
        submit_evaluation(cluster, name)
    operator = SimulatedOperator(cluster, 2)
    operator.reconciler.executor._client = WebhookAway(cluster)
    run_rounds(cluster, operator, 3, seconds=1)
    odd = status(cluster, "odd")
    assert (odd["phase"], odd["reason"]) == ("Running", "Starting")
    assert odd["message"].startswith(
        "the operator could not let its pod start and tries again: Internal error occurred: failed calling"
    )
    assert status(cluster, "good")["phase"] == "Completed"
    operator.reconciler.executor._client = FakeKubeClient(cluster)
    run_rounds(cluster, operator, 4, seconds=11)
    assert status(cluster, "odd")["phase"] == "Completed"


def test_an_operator_that_gave_a_slot_back_hands_it_to_nobody_once_another_one_has_claimed_it_again() -> None:
    cluster = FakeCluster(job_admission=refusing(POLICY))
    submit_evaluation(cluster, "a", priority=1)
    first = SimulatedOperator(cluster, 1)
    first.deliver_events(len(cluster.log))
    while status(cluster, "a")["reason"] != "JobRefused":
        first.step()
    submit_evaluation(cluster, "b", priority=2)
    first.deliver_events(len(cluster.log))
    cluster.job_admission = lambda job: None
    cluster.now += 11
    second = SimulatedOperator(cluster, 1)
    for _ in range(2):
        start_attempts(cluster, second)
    assert status(cluster, "a")["phase"] == "Running"
    # It has slept, and knows nothing of what the other one did.
    for _ in range(40):
        first.step()
    assert cluster.get(LEASES, names.slot_lease_name(0))["spec"]["holderIdentity"].startswith("a/")
    assert status(cluster, "b")["phase"] == "Queued"


class LeasesNotFreed(FakeKubeClient):
    """A webhook that is away lets no slot be freed."""

    async def json_patch(self, resource: Resource, name: str, patch: Any, *, subresource: str = "") -> Object:
        if resource is LEASES and any(change.get("value") == "" for change in patch):
            raise AWAY
        return await super().json_patch(resource, name, patch, subresource=subresource)


def test_one_whose_slot_could_not_be_freed_is_started_again_when_its_wait_is_over() -> None:
    cluster = FakeCluster(job_admission=refusing(POLICY))
    submit_evaluation(cluster, "a")
    operator = SimulatedOperator(cluster, 1)
    operator.reconciler.executor._client = LeasesNotFreed(cluster)
    run_rounds(cluster, operator, 2, seconds=1)
    assert status(cluster, "a")["reason"] == "JobRefused"
    cluster.job_admission = lambda job: None
    run_rounds(cluster, operator, 3, seconds=11)
    assert status(cluster, "a")["phase"] == "Completed"


def test_what_does_not_end_in_a_slot_is_named_to_the_first_in_the_queue() -> None:
    gone = running("gone")
    view = world(queued("a", priority=1), queued("b"), working(gone, deleting=True))
    assert not [action for action in plan(view, moment()) if isinstance(action, Report)]
    view.refresh(11)
    (report,) = [action for action in plan(view, moment(11)) if isinstance(action, Report)]
    assert (report.evaluation.name, report.derived.reason) == ("a", "WaitingForTurn")
    assert report.derived.message == "slot 0 is taken by pod gone-pod-1, which has not ended (node n1)"


def test_what_is_known_of_those_that_are_gone_is_forgotten() -> None:
    refusals = Refusals()
    assert [refusals.record_refusal("a", spec="s", message="no", now=0) for _ in range(7)] == [
        10,
        20,
        40,
        80,
        160,
        300,
        300,
    ]
    refusals.keep_only(set())
    assert refusals.record_refusal("a", spec="s", message="no", now=0) == 10
    assert refusals.pause is None
