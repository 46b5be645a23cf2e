"""The API server's storage is restored from a backup while the operator runs: what is there then is what counts."""

import copy

import pytest
from operator_model import Cluster, Operator, live, submit

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.lease import Register
from lmms_eval_core.names import slot_lease_name
from lmms_eval_operator.slots import Slot


@pytest.mark.parametrize("running", [False, True])
def test_what_ended_after_the_backup_is_run_again_without_a_restart(running: bool) -> None:
    cluster = Cluster()
    submit(cluster, "a")
    operator = Operator(cluster, 1)
    if running:
        operator.pass_to_the_end()
    backup, version = copy.deepcopy(cluster.objects), cluster.version
    live(cluster, operator, 3, seconds=61)
    submit(cluster, "later")
    live(cluster, operator, 3, seconds=61)
    assert cluster.get(EVALUATIONS, "a")["status"]["phase"] == "Completed"
    cluster.objects, cluster.version, cluster.log = backup, version, []
    operator.read = 0
    live(cluster, operator, 4, seconds=61)
    assert cluster.get(EVALUATIONS, "a")["status"]["phase"] == "Completed"
    assert [item.name for item in operator.view.evaluations] == []
    assert all(slot.register.free for slot in operator.view.slots.values())


def test_what_this_process_ended_before_the_backup_came_back_is_forgotten() -> None:
    operator = Operator(Cluster(), 1)
    view = operator.view
    view.slots = {0: Slot(0, Register(slot_lease_name(0), "a/uid/1", "5"))}
    view.ended_attempts.add(("uid", 1))
    view.returned_leases.add((0, "5"))
    assert view.has_ended_attempt(view.slots[0])
    view.forget_history()
    assert not view.has_ended_attempt(view.slots[0])
