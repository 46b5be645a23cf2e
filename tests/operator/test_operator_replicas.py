"""Two whole operators on a real API server: whatever becomes of the one that leads, the other goes on, and never do
both.
"""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api_server_proxy import serve_proxy
from operator_namespace import OperatorNamespace
from operator_process import (
    OperatorProcess,
    build_phase_check,
    complete_evaluation,
    has_logged,
    run_operator,
    wait_until,
)
from recording_proxy import RecordingProxy

from lmms_eval_core import names
from lmms_eval_core.kube.client import PODS
from lmms_eval_operator.election import TIMING
from lmms_eval_operator.observe import OURS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# What is promised. The tests allow some seconds more: this machine does other things as well.
AFTER_KILL = 15.0
AFTER_TERM = 2.0
SLACK = 5.0


class Replica:
    """One operator process, and the proxy that it talks through."""

    def __init__(self, running: OperatorProcess, proxy: RecordingProxy) -> None:
        self.running = running
        self.proxy = proxy

    def send(self, number: signal.Signals) -> datetime:
        """Sends a signal; when."""
        self.running.process.send_signal(number)
        return datetime.now(UTC)

    async def leads_since(self) -> datetime:
        """When it was last elected, for which it waits."""
        await wait_until(lambda: has_logged(self.running, "leading"))
        elected = [entry for entry in self.running.read_events() if entry["event"] == "leading"]
        return datetime.fromisoformat(elected[-1]["time"])


@asynccontextmanager
async def replica(place: OperatorNamespace, kubeconfig: str, folder: Path) -> AsyncIterator[Replica]:
    await asyncio.to_thread(folder.mkdir)
    async with (
        serve_proxy(RecordingProxy, kubeconfig, folder) as (proxy, path),
        run_operator(place, path, folder) as running,
    ):
        yield Replica(running, proxy)


@pytest.fixture
async def pair(place: OperatorNamespace, kubeconfig: str, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    """One that leads, and one that stands by and is ready; one attempt at most lives while they are there."""
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(replica(place, kubeconfig, tmp_path / "first"))
        await leader.leads_since()
        follower = await stack.enter_async_context(replica(place, kubeconfig, tmp_path / "second"))
        await wait_until(lambda: has_logged(follower.running, "standing by"))
        await wait_until(lambda: ready(follower))
        await stack.enter_async_context(one_at_a_time(place))
        yield leader, follower


async def ready(one: Replica) -> bool:
    return await one.running.probe("readyz") == 200


@asynccontextmanager
async def one_at_a_time(place: OperatorNamespace) -> AsyncIterator[None]:
    """Looks all the while."""
    looking = asyncio.create_task(look(place))
    yield
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking


async def look(place: OperatorNamespace) -> None:
    while True:
        pods = (await place.client.list(PODS, label_selector=OURS)).items
        live = [pod for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
        attempts = {
            (pod["metadata"]["labels"][names.LABEL_EVALUATION_UID], pod["metadata"]["labels"][names.LABEL_ATTEMPT])
            for pod in live
        }
        assert len(attempts) <= 1, attempts
        await asyncio.sleep(0.02)


async def end(place: OperatorNamespace, name: str) -> None:
    """The evaluation's pod publishes and ends."""
    await place.wait_for_pod(name)
    await place.publish_scores(name)
    await place.end_pod_of(name, 0)


async def test_the_follower_writes_nothing_and_goes_on_where_a_killed_leader_stopped(
    pair: tuple[Replica, Replica], place: OperatorNamespace
) -> None:
    leader, follower = pair
    await place.submit("a", priority=1)
    await complete_evaluation(place, "a")
    await place.submit("b")
    await wait_until(build_phase_check(place, "b", "Running"))
    assert leader.proxy.writes and leader.proxy.election_writes
    assert (follower.proxy.writes, follower.proxy.election_writes) == ([], 0)
    killed = leader.send(signal.SIGKILL)
    await end(place, "b")
    await wait_until(build_phase_check(place, "b", "Completed"))
    ended = datetime.now(UTC)
    elected = await follower.leads_since()
    print(f"after SIGKILL: elected {elected - killed}, the end of a run written {ended - killed}")
    assert (elected - killed).total_seconds() < AFTER_KILL + SLACK
    assert (ended - killed).total_seconds() < AFTER_KILL + SLACK
    await place.submit("c")
    await complete_evaluation(place, "c")


async def test_a_leader_that_is_told_to_end_hands_over_within_two_seconds(
    pair: tuple[Replica, Replica], place: OperatorNamespace
) -> None:
    leader, follower = pair
    await place.submit("a", priority=1)
    await place.submit("b")
    await wait_until(build_phase_check(place, "a", "Running"))
    told = leader.send(signal.SIGTERM)
    await end(place, "a")
    await wait_until(build_phase_check(place, "b", "Running"))
    ran = datetime.now(UTC)
    elected = await follower.leads_since()
    print(f"after SIGTERM: elected {elected - told}, the next one running {ran - told}")
    assert (elected - told).total_seconds() < AFTER_TERM + SLACK
    assert (ran - told).total_seconds() < AFTER_TERM + SLACK
    assert await leader.running.process.wait() == 0
    assert [entry["event"] for entry in leader.running.read_events()][-1] == "stopped"


async def test_a_leader_that_sleeps_past_its_lease_stands_down_when_it_wakes(
    pair: tuple[Replica, Replica], place: OperatorNamespace
) -> None:
    """At rest. In the middle of a write: see the test of pauses."""
    leader, follower = pair
    await place.submit("a", priority=1)
    await place.submit("b")
    await place.wait_for_pod("a")
    await asyncio.sleep(2)
    slept = leader.send(signal.SIGSTOP)
    await end(place, "a")
    await wait_until(build_phase_check(place, "b", "Running"))
    elected = await follower.leads_since()
    print(f"after SIGSTOP: elected {elected - slept}")
    assert TIMING.lease - TIMING.deadline < (elected - slept).total_seconds() < AFTER_KILL + SLACK
    before = list(leader.proxy.writes)
    leader.send(signal.SIGCONT)
    await wait_until(lambda: has_logged(leader.running, "stood down"))
    await end(place, "b")
    await place.submit("c")
    await complete_evaluation(place, "c")
    assert leader.proxy.writes == before, "it wrote nothing after it woke"
    assert [len(await place.list_pods(name)) for name in "abc"] == [1, 1, 1]
    assert leader.running.process.returncode is None and await ready(leader)


@pytest.mark.parametrize("away", ["cut", "shut"])
async def test_without_an_api_server_nobody_leads_and_nobody_ends(
    pair: tuple[Replica, Replica], place: OperatorNamespace, away: str
) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    await wait_until(build_phase_check(place, "a", "Running"))
    await place.wait_for_pod("a")
    with absent(pair, away):
        await end(place, "a")
        await asyncio.sleep(TIMING.lease + 8)
        for one in pair:
            assert one.running.process.returncode is None
            assert await one.running.probe("livez") == 200
            assert Counter(entry["event"] for entry in one.running.read_events())["stood down"] == (one is pair[0])
    took = await wait_until(build_phase_check(place, "b", "Running"))
    print(f"the API server is back ({away}): the queue went on after {took:.1f} s")
    assert took < 30
    await complete_evaluation(place, "b")


@contextlib.contextmanager
def absent(pair: tuple[Replica, Replica], how: str) -> Iterator[None]:
    """The API server, for both."""
    for one in pair:
        if how == "cut":
            one.proxy.mode = "cut"
        else:
            one.proxy.block()
    yield
    for one in pair:
        one.proxy.mode = "pass"
        one.proxy.unblock()
