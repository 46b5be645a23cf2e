"""An end is always written, whatever words of users, of runs and of the cluster belong to it."""

from typing import Any

import pytest
from fake_api_server import FakeCluster, FakeKubeClient
from operator_builders import ended, running
from operator_namespace import OperatorNamespace, work_until
from simulation import SPEC, SimulatedOperator, start_attempts

from lmms_eval_core import names
from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, Object, Resource
from lmms_eval_core.phases import Reason
from lmms_eval_operator.derive import MAX_MESSAGE, derive

LONG = "ann\u202e \x1b[31m" + "x" * 2000
SHOWN = "ann " + "x" * 252


def submit(cluster: FakeCluster, **spec: Any) -> None:
    cluster.create(EVALUATIONS, {"metadata": {"name": "a", "namespace": "test"}, "spec": {**SPEC, **spec}})


def status(cluster: FakeCluster) -> Object:
    found: Object = cluster.get(EVALUATIONS, "a")["status"]
    return found


def cancel(cluster: FakeCluster, by: str) -> None:
    item = cluster.get(EVALUATIONS, "a")
    item["metadata"]["annotations"] = {names.ANNOTATION_CANCELLED_BY: by}
    item["spec"]["cancel"] = True
    cluster.store(EVALUATIONS, item)


def work(cluster: FakeCluster, operator: SimulatedOperator, exit_code: int | None = None) -> None:
    """The operator and the controllers, and the pods end if they are to."""
    start_attempts(cluster, operator)
    if exit_code is not None:
        for pod in cluster.list_live_pods():
            cluster.end_pod(pod, exit_code)
    operator.finish_pass()


@pytest.mark.parametrize("started", [False, True])
def test_a_long_and_odd_name_of_who_cancelled_is_cut_and_cleaned(started: bool) -> None:
    cluster = FakeCluster()
    submit(cluster, hold=not started)
    operator = SimulatedOperator(cluster, 1)
    work(cluster, operator)
    cancel(cluster, LONG)
    work(cluster, operator, 143)
    work(cluster, operator)
    end = status(cluster)
    assert (end["phase"], end["cancelledBy"], end["message"]) == ("Cancelled", SHOWN, f"cancelled by {SHOWN}")
    assert all(slot.register.free for slot in operator.view.slots.values())


@pytest.mark.parametrize("exit_code", [64, 70, 71, 137])
def test_what_a_run_said_is_cut_and_cleaned_wherever_it_goes(exit_code: int) -> None:
    reason = next((ending.reason for ending in BY_REASON.values() if ending.exit_code == exit_code), "Interrupted")
    error = {"class": reason, "message": "\x1b]0;x\x07\u202e" + "w\n" * 3000}
    run = running(published=True, retries=2, reported=frozenset({"error"}), error=error)
    derived = derive(run, None, [ended(run, exit_code, message="\x1b[2J" + "p" * 9000)])
    for text in (derived.message, derived.attempt_message):
        assert len(text) <= MAX_MESSAGE and text.isprintable()


class Refusing(FakeKubeClient):
    """The API server finds invalid whatever is said of an end in words that are not ours."""

    def __init__(self, cluster: FakeCluster, word: str) -> None:
        super().__init__(cluster)
        self.word = word

    async def json_patch(self, resource: Resource, name: str, patch: Any, *, subresource: str = "") -> Object:
        if resource is EVALUATIONS and self.word in str(patch):
            raise errors.Invalid("status is invalid: too long", {"details": {"causes": [{"field": "status"}]}})
        return await super().json_patch(resource, name, patch, subresource=subresource)


def test_a_cancel_that_is_refused_as_invalid_is_written_in_our_own_words() -> None:
    cluster = FakeCluster()
    submit(cluster, hold=True)
    operator = SimulatedOperator(cluster, 1)
    operator.reconciler.executor._client = Refusing(cluster, "ann")
    cancel(cluster, "ann")
    work(cluster, operator)
    end = status(cluster)
    assert (end["phase"], end["reason"], end["message"]) == ("Cancelled", "CancelledByUser", "spec.cancel was set")
    assert "cancelledBy" not in end and end["conditions"][0]["type"] == "Complete"


@pytest.mark.parametrize(("retries", "phase", "reason"), [(0, "Failed", "Interrupted"), (2, "Queued", "Retrying")])
def test_so_is_the_end_of_an_attempt(retries: int, phase: str, reason: str) -> None:
    cluster = FakeCluster()
    submit(cluster, retries=retries)
    operator = SimulatedOperator(cluster, 1)
    operator.reconciler.executor._client = Refusing(cluster, "exit code 137")
    work(cluster, operator)
    work(cluster, operator, 137)
    end = status(cluster)
    assert (end["phase"], end["reason"]) == (phase, reason)
    assert BY_REASON[Reason.INTERRUPTED].meaning in end["message"]
    assert end["attempts"][-1]["reason"] == "Interrupted"
    assert all(slot.register.free for slot in operator.view.slots.values())


@pytest.mark.integration
async def test_a_real_api_server_takes_the_end_of_one_that_was_cancelled_in_many_words(
    place: OperatorNamespace,
) -> None:
    await place.submit("a", hold=True)
    operator = place.make_operator()
    await operator.work()
    patch: list[dict[str, Any]] = [
        {"op": "add", "path": "/metadata/annotations", "value": {names.ANNOTATION_CANCELLED_BY: LONG}},
        {"op": "add", "path": "/spec/cancel", "value": True},
    ]
    await place.client.json_patch(EVALUATIONS, "a", patch)

    async def over() -> bool:
        return bool((await place.read_status("a"))["phase"] == "Cancelled")

    await work_until(operator, over)
    assert (await place.read_status("a"))["cancelledBy"] == SHOWN
