"""Two operators and the orders of events that would give a slot away twice, spelt out: the properties find these but
rarely.
"""

from collections.abc import Callable

import pytest
from fake_api_server import FakeCluster
from simulation import SPEC, SimulatedOperator

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES, PODS


@pytest.fixture
def cluster() -> FakeCluster:
    """Two evaluations wait; `first` is first."""
    cluster = FakeCluster()
    for name, priority in (("first", 1), ("second", 0)):
        spec = {**SPEC, "priority": priority, "hold": False}
        cluster.create(EVALUATIONS, {"metadata": {"name": name, "namespace": "test"}, "spec": spec})
    return cluster


def edit(cluster: FakeCluster, name: str, **spec: bool) -> None:
    item = cluster.get(EVALUATIONS, name)
    item["spec"] |= spec
    cluster.store(EVALUATIONS, item)


def runs_until(operator: SimulatedOperator, done: Callable[[], bool]) -> None:
    """Steps from call to call, and sleeps right after the one that made it true."""
    for _ in range(200):
        if done():
            return
        operator.step()
    raise AssertionError("it never came to that")


def holder(cluster: FakeCluster) -> str:
    lease = cluster.objects[LEASES].get(names.slot_lease_name(0))
    return str(lease["spec"].get("holderIdentity", "")) if lease and "spec" in lease else ""


def opened(cluster: FakeCluster) -> list[str]:
    """The evaluations of which a pod may get a node, or has one."""
    pods = (pod for pod in cluster.objects[PODS].values() if not pod["spec"]["schedulingGates"])
    return sorted(
        {
            pod["metadata"]["labels"][names.LABEL_EVALUATION]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
        }
    )


def works(operator: SimulatedOperator) -> None:
    """It does all that it can, and so do the controllers."""
    for _ in range(4):
        operator.finish_pass()
        operator.cluster.run_controllers()


def hears_of(operator: SimulatedOperator, name: str) -> None:
    """The events about one evaluation arrive before all others: nobody promises an order."""
    objects = operator.cluster.objects
    operator.view.learn(EVALUATIONS, False, objects[EVALUATIONS][name])
    for resource in (JOBS, PODS):
        for item in objects[resource].values():
            if item["metadata"]["labels"][names.LABEL_EVALUATION] == name:
                operator.view.learn(resource, False, item)


def test_a_claim_that_was_released_while_its_owner_slept_starts_nothing(cluster: FakeCluster) -> None:
    sleeper, other = SimulatedOperator(cluster, 1), SimulatedOperator(cluster, 1)
    runs_until(sleeper, lambda: holder(cluster).startswith("first/"))
    edit(cluster, "first", hold=True)
    works(other)
    assert opened(cluster) == ["second"]
    edit(cluster, "first", hold=False)
    for _ in range(4):
        hears_of(sleeper, "first")
        while sleeper.step():
            pass
        cluster.run_controllers()
    assert opened(cluster) == ["second"]
    works(sleeper)
    assert opened(cluster) == ["second"]


def test_a_release_decided_by_an_old_view_takes_no_slot_from_a_start(cluster: FakeCluster) -> None:
    edit(cluster, "first", hold=True)
    SimulatedOperator(cluster, 0).finish_pass()
    assert cluster.get(EVALUATIONS, "first")["status"]["reason"] == "OnHold"
    stale, other = SimulatedOperator(cluster, 1), SimulatedOperator(cluster, 1)
    # It has seen `first` on hold and is about to claim the slot for `second`.
    runs_until(stale, lambda: len(stale.view.evaluations) == 2)
    edit(cluster, "first", hold=False)
    runs_until(other, lambda: holder(cluster).startswith("first/"))
    sleeps_no_more(stale)
    works(other)
    assert opened(cluster) == ["first"]


def about_to_open(cluster: FakeCluster) -> SimulatedOperator:
    """An operator that has written down the pod of `first`, and sleeps before it opens its gate."""
    sleeper = SimulatedOperator(cluster, 1)
    sleeper.finish_pass()
    cluster.run_controllers()
    sleeper.deliver_events(len(cluster.log))
    runs_until(sleeper, lambda: sleeper.client.pending_write == "patch pods")
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Running"
    return sleeper


def sleeps_no_more(sleeper: SimulatedOperator) -> None:
    """It does what it was about to do, with the controllers at work beside it, and goes on from there."""
    while sleeper.step():
        sleeper.cluster.run_controllers()
    works(sleeper)


@pytest.mark.parametrize("controllers_work", [True, False])
def test_a_gate_whose_run_was_cancelled_while_its_opener_slept_lets_nothing_through(
    cluster: FakeCluster, controllers_work: bool
) -> None:
    sleeper, other = about_to_open(cluster), SimulatedOperator(cluster, 1)
    edit(cluster, "first", cancel=True)
    if controllers_work:
        works(other)
        assert opened(cluster) == ["second"]
    other.finish_pass()
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Cancelled"
    sleeps_no_more(sleeper)
    works(other)
    assert opened(cluster) == ["second"]


@pytest.mark.parametrize("lease_is_lost", [False, True])
def test_a_slot_is_not_given_on_while_a_gate_in_it_may_still_be_opened(
    cluster: FakeCluster, lease_is_lost: bool
) -> None:
    sleeper, other = about_to_open(cluster), SimulatedOperator(cluster, 1)
    cluster.remove(EVALUATIONS, "first")
    if lease_is_lost:
        cluster.remove(LEASES, names.slot_lease_name(0))
    (pod,) = cluster.objects[PODS]
    # The garbage collector has not looked yet.
    runs_until(other, lambda: "second" in holder(cluster))
    assert pod not in cluster.objects[PODS] or "deletionTimestamp" in cluster.objects[PODS][pod]["metadata"]
    sleeps_no_more(sleeper)
    works(other)
    assert opened(cluster) == ["second"]


def test_a_start_that_slept_before_the_status_leaves_it_to_what_happened_since(cluster: FakeCluster) -> None:
    sleeper, other = SimulatedOperator(cluster, 1), SimulatedOperator(cluster, 1)
    runs_until(sleeper, lambda: bool(cluster.objects[JOBS]))
    edit(cluster, "first", hold=True)
    works(other)
    sleeper.step()
    sleeper.step()
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Queued"
    works(sleeper)
    assert opened(cluster) == ["second"]


def test_two_claims_for_one_evaluation_end_as_one_start(cluster: FakeCluster) -> None:
    cluster.remove(EVALUATIONS, "second")
    one, two = SimulatedOperator(cluster, 2), SimulatedOperator(cluster, 2)
    runs_until(one, lambda: len(one.view.evaluations) == 1)
    runs_until(two, lambda: len(two.view.evaluations) == 1)
    # By a person's hand the first slot is taken for a moment, so that the operators claim different ones.
    lease = cluster.get(LEASES, names.slot_lease_name(0))
    lease["spec"] = {"holderIdentity": "x/y/1"}
    cluster.store(LEASES, lease)
    for operator in (one, two):
        works(operator)
    assert opened(cluster) == ["first"] and len(cluster.list_live_pods()) == 1


def test_of_a_job_that_vanished_a_late_pod_gets_no_node_and_nobody_waits_for_it(cluster: FakeCluster) -> None:
    operator = SimulatedOperator(cluster, 1)
    operator.finish_pass()
    vanished = cluster.objects[JOBS][next(iter(cluster.objects[JOBS]))]
    cluster.run_controllers()
    works(operator)
    assert opened(cluster) == ["first"]
    cluster.remove(JOBS, vanished["metadata"]["name"])
    cluster.collect_garbage()
    cluster.end_pod(cluster.list_live_pods()[0], 143)
    late = cluster.create_pod(vanished)
    for _ in range(2):
        works(operator)
    assert cluster.get(EVALUATIONS, "first")["status"]["reason"] == "JobDeleted"
    assert opened(cluster) == ["second"] and late["metadata"]["name"] not in cluster.objects[PODS]


def test_a_second_pod_of_an_attempt_stays_behind_its_gate(cluster: FakeCluster) -> None:
    operator = SimulatedOperator(cluster, 1)
    works(operator)
    (first,) = cluster.list_live_pods()
    second = cluster.create_pod(next(iter(cluster.objects[JOBS].values())))
    works(operator)
    assert [pod["metadata"]["name"] for pod in cluster.list_live_pods()] == [first["metadata"]["name"]]
    cluster.publish_scores(first)
    cluster.end_pod(first, 0)
    works(operator)
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Completed"
    assert opened(cluster) == ["first", "second"] and second["metadata"]["name"] not in cluster.objects[PODS]


@pytest.mark.parametrize("pod_is_there", [False, True])
def test_a_cancel_in_the_middle_of_a_start_frees_the_slot_at_once(cluster: FakeCluster, pod_is_there: bool) -> None:
    operator = SimulatedOperator(cluster, 1)
    runs_until(operator, lambda: bool(cluster.objects[JOBS]))
    if pod_is_there:
        cluster.run_controllers()
    edit(cluster, "first", cancel=True)
    works(operator)
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Cancelled"
    # No time has passed.
    assert opened(cluster) == ["second"]


def test_a_sleeper_cannot_start_what_was_cancelled_before_its_start(cluster: FakeCluster) -> None:
    sleeper, other = SimulatedOperator(cluster, 1), SimulatedOperator(cluster, 1)
    sleeper.finish_pass()
    cluster.run_controllers()
    sleeper.deliver_events(len(cluster.log))
    runs_until(sleeper, lambda: sleeper.client.pending_write == "patch lmmevaluations")
    edit(cluster, "first", cancel=True)
    works(other)
    assert opened(cluster) == ["second"]
    sleeps_no_more(sleeper)
    assert opened(cluster) == ["second"]


def test_a_job_of_a_release_before_the_gate_is_made_anew(cluster: FakeCluster) -> None:
    operator = SimulatedOperator(cluster, 1)
    runs_until(operator, lambda: bool(cluster.objects[JOBS]))
    (old,) = cluster.objects[JOBS].values()
    old["spec"] |= {"suspend": True, "template": {**old["spec"]["template"], "spec": {}}}
    cluster.store(JOBS, old)
    works(SimulatedOperator(cluster, 1))
    assert opened(cluster) == ["first"]
    assert [job["metadata"]["uid"] != old["metadata"]["uid"] for job in cluster.objects[JOBS].values()] == [True]
