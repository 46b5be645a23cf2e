"""Two operators and the orders of events that would give a slot away twice, spelt out: the properties find these but rarely."""

from collections.abc import Callable

import pytest
from operator_model import USER, Cluster, Operator

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES


@pytest.fixture
def cluster() -> Cluster:
    """Two evaluations wait; `first` is first."""
    cluster = Cluster()
    for name, priority in (("first", 1), ("second", 0)):
        spec = {**USER, "priority": priority, "hold": False}
        cluster.create(EVALUATIONS, {"metadata": {"name": name, "namespace": "test"}, "spec": spec})
    return cluster


def edit(cluster: Cluster, name: str, **spec: bool) -> None:
    item = cluster.get(EVALUATIONS, name)
    item["spec"] |= spec
    cluster.store(EVALUATIONS, item)


def runs_until(operator: Operator, done: Callable[[], bool]) -> None:
    """Steps from call to call, and sleeps right after the one that made it true."""
    for _ in range(200):
        if done():
            return
        operator.step()
    raise AssertionError("it never came to that")


def holder(cluster: Cluster) -> str:
    lease = cluster.objects[LEASES].get(names.slot_lease_name(0))
    return str(lease["spec"].get("holderIdentity", "")) if lease and "spec" in lease else ""


def started(cluster: Cluster) -> list[str]:
    """The evaluations of which a Job may have pods."""
    jobs = cluster.objects[JOBS].values()
    return sorted(job["metadata"]["labels"][names.LABEL_EVALUATION] for job in jobs if not job["spec"]["suspend"])


def hears_of(operator: Operator, name: str) -> None:
    """The event of one evaluation arrives before all others: watches of different resources are not in step."""
    operator.view.learn(EVALUATIONS, False, operator.cluster.get(EVALUATIONS, name))


def test_a_claim_that_was_released_while_its_owner_slept_starts_nothing(cluster: Cluster) -> None:
    sleeper, other = Operator(cluster, 1), Operator(cluster, 1)
    runs_until(sleeper, lambda: holder(cluster).startswith("first/"))
    edit(cluster, "first", hold=True)
    other.pass_to_the_end()
    assert started(cluster) == ["second"]
    edit(cluster, "first", hold=False)
    hears_of(sleeper, "first")
    while sleeper.step():
        assert started(cluster) == ["second"]


def test_a_release_decided_by_an_old_view_takes_no_slot_from_a_start(cluster: Cluster) -> None:
    edit(cluster, "first", hold=True)
    Operator(cluster, 0).pass_to_the_end()
    assert cluster.get(EVALUATIONS, "first")["status"]["reason"] == "OnHold"
    stale, other = Operator(cluster, 1), Operator(cluster, 1)
    # It has seen `first` on hold and is about to claim the slot for `second`.
    runs_until(stale, lambda: len(stale.view.evaluations) == 2)
    edit(cluster, "first", hold=False)
    runs_until(other, lambda: holder(cluster).startswith("first/"))
    while stale.step():
        pass
    other.pass_to_the_end()
    assert started(cluster) == ["first"]


def test_a_start_that_slept_before_its_last_write_finds_the_job_stopped(cluster: Cluster) -> None:
    sleeper, other = Operator(cluster, 1), Operator(cluster, 1)
    runs_until(sleeper, lambda: cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Running")
    edit(cluster, "first", cancel=True)
    runs_until(other, lambda: "stopped" in states(cluster))
    while sleeper.step():
        assert states(cluster) == ["stopped"] or "first" not in started(cluster)


def test_a_start_that_slept_before_the_status_leaves_it_to_what_happened_since(cluster: Cluster) -> None:
    sleeper, other = Operator(cluster, 1), Operator(cluster, 1)
    runs_until(sleeper, lambda: states(cluster) == ["new"])
    edit(cluster, "first", hold=True)
    other.pass_to_the_end()
    sleeper.step()
    sleeper.step()
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Queued"
    sleeper.pass_to_the_end()
    assert started(cluster) == ["second"]


def states(cluster: Cluster) -> list[str]:
    return [job["metadata"]["labels"][names.LABEL_STATE] for job in cluster.objects[JOBS].values()]


def test_two_claims_for_one_evaluation_end_as_one_start(cluster: Cluster) -> None:
    cluster.remove(EVALUATIONS, "second")
    one, two = Operator(cluster, 2), Operator(cluster, 2)
    runs_until(one, lambda: len(one.view.evaluations) == 1)
    runs_until(two, lambda: len(two.view.evaluations) == 1)
    # By a person's hand the first slot is taken for a moment, so that the operators claim different ones.
    lease = cluster.get(LEASES, names.slot_lease_name(0))
    lease["spec"] = {"holderIdentity": "x/y/1"}
    cluster.store(LEASES, lease)
    one.pass_to_the_end()
    two.pass_to_the_end()
    assert started(cluster) == ["first"]


def test_a_job_that_vanished_keeps_its_slot_until_its_controller_is_done(cluster: Cluster) -> None:
    operator = Operator(cluster, 1)
    operator.pass_to_the_end()
    cluster.remove(JOBS, next(iter(cluster.objects[JOBS])))
    operator.pass_to_the_end()
    assert started(cluster) == [] and holder(cluster).startswith("first/")
    cluster.now += 6
    operator.pass_to_the_end()
    assert cluster.get(EVALUATIONS, "first")["status"]["reason"] == "JobDeleted"
    assert started(cluster) == ["second"]


def test_a_job_made_again_by_a_sleeper_does_not_hide_that_the_first_one_vanished(cluster: Cluster) -> None:
    one, sleeper = Operator(cluster, 1), Operator(cluster, 1)
    runs_until(one, lambda: holder(cluster).startswith("first/"))
    runs_until(sleeper, lambda: sleeper.client.about_to == "create jobs")
    one.pass_to_the_end()
    assert started(cluster) == ["first"]
    cluster.remove(JOBS, next(iter(cluster.objects[JOBS])))
    sleeper.pass_to_the_end()
    assert started(cluster) == [] and holder(cluster).startswith("first/")
    cluster.now += 6
    sleeper.pass_to_the_end()
    assert started(cluster) == ["second"]


def test_a_cancel_in_the_middle_of_a_start_frees_the_slot_at_once(cluster: Cluster) -> None:
    operator = Operator(cluster, 1)
    runs_until(operator, lambda: states(cluster) == ["new"])
    edit(cluster, "first", cancel=True)
    operator.pass_to_the_end()
    assert cluster.get(EVALUATIONS, "first")["status"]["phase"] == "Cancelled"
    # No time has passed: its Job was never started, so nothing of it can come late.
    assert started(cluster) == ["second"]


def test_a_sleeper_cannot_start_what_was_cancelled_before_its_start(cluster: Cluster) -> None:
    sleeper, other = Operator(cluster, 1), Operator(cluster, 1)
    runs_until(sleeper, lambda: sleeper.client.about_to == "patch lmmevaluations")
    edit(cluster, "first", cancel=True)
    other.pass_to_the_end()
    assert started(cluster) == ["second"]
    while sleeper.step():
        assert started(cluster) == ["second"]
