"""The API server's storage is restored from a backup while the operator runs: what is there then is what counts."""

import copy

import pytest
from fake_api_server import FakeCluster
from simulation import SimulatedOperator, run_rounds, submit_evaluation

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.lease import Register
from lmms_eval_core.names import slot_lease_name
from lmms_eval_operator.slots import Slot


@pytest.mark.parametrize("running", [False, True])
def test_what_ended_after_the_backup_is_run_again_without_a_restart(running: bool) -> None:
    cluster = FakeCluster()
    submit_evaluation(cluster, "a")
    operator = SimulatedOperator(cluster, 1)
    if running:
        operator.finish_pass()
    backup, version = copy.deepcopy(cluster.objects), cluster.version
    run_rounds(cluster, operator, 3, seconds=61)
    submit_evaluation(cluster, "later")
    run_rounds(cluster, operator, 3, seconds=61)
    assert cluster.get(EVALUATIONS, "a")["status"]["phase"] == "Completed"
    cluster.objects, cluster.version, cluster.log = backup, version, []
    operator.read = 0
    run_rounds(cluster, operator, 4, seconds=61)
    assert cluster.get(EVALUATIONS, "a")["status"]["phase"] == "Completed"
    assert [item.name for item in operator.view.evaluations] == []
    assert all(slot.register.free for slot in operator.view.slots.values())


def test_what_this_process_ended_before_the_backup_came_back_is_forgotten() -> None:
    operator = SimulatedOperator(FakeCluster(), 1)
    view = operator.view
    view.slots = {0: Slot(0, Register(slot_lease_name(0), "a/uid/1", "5"))}
    view.ended_attempts.add(("uid", 1))
    view.returned_leases.add((0, "5"))
    assert view.has_ended_attempt(view.slots[0])
    view.forget_history()
    assert not view.has_ended_attempt(view.slots[0])
