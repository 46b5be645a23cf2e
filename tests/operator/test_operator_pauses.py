"""A leader that is paused (SIGSTOP) for longer than its lease, between any two of its writes, does no harm when it
wakes.

Two real operator processes. The leader is stopped while one of its writes is under way, and the other one takes over,
ends what runs and starts what waits; then the leader wakes. The write is done only now, which is the worst; with
LMMS_EVAL_SWEEP_EVERY=1 also cases in which it was done before, or never. Likewise for each write of a start that
somebody cancels meanwhile.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import web
from api_server_proxy import serve_proxy
from deployment import Kubectl
from fault_proxy import FaultProxy, Write
from operator_namespace import OperatorNamespace
from operator_process import OperatorProcess, has_logged, run_operator, wait_until
from scenarios import COMPLETED, NamespaceObserver, ScenarioRun, observe_namespace

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PAIRS = 6
ALL = os.environ.get("LMMS_EVAL_SWEEP_EVERY") == "1"
# Of one evaluation up to the release of its slot, of the next one up to its start, and one for the Job of the first.
WRITES = 12
START = 4
FATES = EARLIER, NOW, NEVER = "done before it wakes", "done when it wakes", "never done"
CASE_SECONDS = 90.0


class Case(NamedTuple):
    """The leader is paused at its write number `at`; what becomes of that, and whether the first evaluation is
    cancelled then.
    """

    at: int
    fate: str
    cancel: bool


@dataclass(eq=False)
class Replica:
    """One operator process, and the proxy that it speaks through."""

    running: OperatorProcess
    writes: FaultProxy

    def signal(self, number: signal.Signals) -> None:
        self.running.process.send_signal(number)

    def fallen(self) -> int:
        """How often it noticed that it does not lead any more."""
        return sum(event["event"] == "stood down" for event in self.running.read_events())

    async def has_fallen(self, times: int) -> bool:
        return self.fallen() >= times


@dataclass
class Held:
    """A write that is under way, and who waits for its answer; None ends the connection."""

    by: Replica
    write: Write
    answer: asyncio.Future[web.Response | None]

    async def done(self) -> None:
        self.answer.set_result(await self.write.forward())


@dataclass
class Pair:
    """Two replicas in a namespace of their own."""

    place: OperatorNamespace
    observer: NamespaceObserver
    replicas: list[Replica]

    async def play(self, case: Case) -> list[str]:
        """What was wrong."""
        run, held = ScenarioRun(self.place, self.observer), self._hold(case.at)
        for name, priority in (("a", 1), ("b", 0)):
            await run.submit(name, priority=priority)
        try:
            async with asyncio.timeout(CASE_SECONDS), asyncio.TaskGroup() as group:
                paused = asyncio.Event()
                others = group.create_task(_until_b_runs(run, paused, case))
                leader = await _pause(await held, paused, case, others)
                holder = run.find_holder()
                wrong = [] if holder.startswith("b/") else [f"the slot is {holder}'s, though b runs"]
                await run.publish_and_end("b", others.result())
                await run.wait_until_over()
                await run.wait_for_reason("a", "CancelledByUser" if case.cancel else "Succeeded")
            wrong += run.find_broken_promises({"b": COMPLETED} if case.cancel else {"a": COMPLETED, "b": COMPLETED})
            wrong += [] if leader.running.process.returncode is None else ["it died"]
        except TimeoutError:
            wrong = [f"it never came to its end: {run.describe()}"]
        await run.clear()
        return wrong

    def _hold(self, at: int) -> asyncio.Future[Held]:
        """Whoever leads comes to its write number `at`, and waits for the answer."""
        loop = asyncio.get_running_loop()
        held: asyncio.Future[Held] = loop.create_future()

        async def hold(write: Write, by: Replica) -> web.StreamResponse:
            for replica in self.replicas:
                replica.writes.set_fault(None, 0)
            held.set_result(Held(by, write, loop.create_future()))
            answer = await held.result().answer
            if answer is None:
                write.disconnect()
            return answer

        for replica in self.replicas:
            replica.writes.set_fault(partial(hold, by=replica), at)
        return held


async def _until_b_runs(run: ScenarioRun, paused: asyncio.Event, case: Case) -> str:
    if case.cancel:
        await paused.wait()
        await run.edit("a", cancel=True)
    else:
        await run.complete("a")
    return await run.start_run("b")


async def _pause(held: Held, paused: asyncio.Event, case: Case, others: asyncio.Task[str]) -> Replica:
    """It sleeps until the other replica has done everything up to the start of b."""
    leader, fallen = held.by, held.by.fallen()
    leader.signal(signal.SIGSTOP)
    paused.set()
    if case.fate == EARLIER:
        await held.done()
    await asyncio.wait([others])
    if case.fate == NOW:
        await held.done()
    leader.signal(signal.SIGCONT)
    if case.fate == NEVER:
        held.answer.set_result(None)
    await wait_until(lambda: leader.has_fallen(fallen + 1))
    # By then it has done what it may have had in mind.
    await asyncio.sleep(1)
    return leader


@contextlib.asynccontextmanager
async def pair(kubeconfig: str, kubectl: Kubectl, folders: Iterable[Path]) -> AsyncIterator[Pair]:
    """Two replicas, of which one leads and the other one knows it."""
    async with contextlib.AsyncExitStack() as stack:
        place, observer = await stack.enter_async_context(observe_namespace(kubeconfig, kubectl))
        replicas = []
        for folder, part in zip(folders, ("leading", "standing by"), strict=True):
            replicas.append(await stack.enter_async_context(replica(place, kubeconfig, folder)))
            await wait_until(partial(has_logged, replicas[-1].running, part), seconds=60)
        yield Pair(place, observer, replicas)


@contextlib.asynccontextmanager
async def replica(place: OperatorNamespace, kubeconfig: str, folder: Path) -> AsyncIterator[Replica]:
    async with (
        serve_proxy(FaultProxy, kubeconfig, folder) as (writes, path),
        run_operator(place, path, folder) as running,
    ):
        yield Replica(running, writes)


async def test_a_leader_that_slept_over_its_lease_does_no_harm(
    kubeconfig: str, kubectl: Kubectl, crd: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ends = [Case(at, fate, False) for at in range(1, WRITES + 1) for fate in (FATES if ALL else [NOW])]
    cases = [*ends, *(case._replace(cancel=True) for case in ends if case.at <= START)]
    print(f"{len(cases)} cases")
    wrong: list[str] = []

    async def work() -> None:
        folders = [tmp_path_factory.mktemp("replica") for _ in range(2)]
        async with pair(kubeconfig, kubectl, folders) as two:
            while cases:
                case = cases.pop(0)
                wrong.extend(f"{case}: {what}" for what in await two.play(case))

    async with asyncio.TaskGroup() as group:
        for _ in range(PAIRS):
            group.create_task(work())
    assert not wrong, "\n".join(wrong)
