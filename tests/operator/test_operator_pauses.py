"""A leader that is paused (SIGSTOP) for longer than its lease, between any two of its writes, does no harm when it wakes.

Two real operator processes. The leader is stopped while one of its writes is under way, and the other one takes over, ends what
runs and starts what waits; then the leader wakes. The write has been done before that, is done only now, or never:
by default each write meets one of these fates, with LMMS_EVAL_SWEEP_EVERY=1 all three.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from deployment import Kubectl
from operator_cluster import Namespace
from operator_faults import Write, Writes
from operator_process import Process, becomes, operator, says
from operator_proxy import serving
from operator_scene import COMPLETED, Scene, Watcher, watched

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PAIRS = 6
EVERY = int(os.environ.get("LMMS_EVAL_SWEEP_EVERY", "3"))
# Of one evaluation from the claim of its slot to its release, of the next one up to its start, and the first one's Job expires.
WRITES = 12
FATES = EARLIER, NOW, NEVER = "done before it wakes", "done when it wakes", "never done"
CASE_SECONDS = 90.0


@dataclass(eq=False)
class Replica:
    """One operator process, and the proxy that it speaks through."""

    running: Process
    writes: Writes

    def signal(self, number: signal.Signals) -> None:
        self.running.process.send_signal(number)

    def fallen(self) -> int:
        """How often it noticed that it does not lead any more."""
        return sum(event["event"] == "stood down" for event in self.running.events())

    async def has_fallen(self, times: int) -> bool:
        return self.fallen() >= times


@dataclass
class Held:
    """A write that is under way, and who waits for its answer; None ends the connection."""

    by: Replica
    write: Write
    answer: asyncio.Future[web.Response | None]

    async def done(self) -> None:
        self.answer.set_result(await self.write.done())


@dataclass
class Pair:
    """Two replicas in a namespace of their own."""

    place: Namespace
    watcher: Watcher
    replicas: list[Replica]

    async def play(self, at: int, fate: str) -> list[str]:
        """The leader is paused at its write number `at`. What was wrong."""
        scene, held = Scene(self.place, self.watcher), self._hold(at)
        for name, priority in (("a", 1), ("b", 0)):
            await scene.submit(name, priority=priority)
        try:
            async with asyncio.timeout(CASE_SECONDS), asyncio.TaskGroup() as group:
                others = group.create_task(self._until_b_runs(scene))
                leader = await self._pause(await held, fate, others)
                wrong = [] if scene.holder().startswith("b/") else [f"the slot is {scene.holder()}'s, though b runs"]
                await scene.publishes("b", others.result())
                await scene.over()
            wrong += scene.wrong({"a": COMPLETED, "b": COMPLETED})
            wrong += [] if leader.running.process.returncode is None else ["it died"]
        except TimeoutError:
            wrong = [f"it never came to its end: {scene.story()}"]
        await scene.clear()
        return wrong

    def _hold(self, at: int) -> asyncio.Future[Held]:
        """Whoever leads comes to its write number `at`, and waits for the answer."""
        loop = asyncio.get_running_loop()
        held: asyncio.Future[Held] = loop.create_future()

        async def hold(write: Write, by: Replica) -> web.StreamResponse:
            for replica in self.replicas:
                replica.writes.expect(None, 0)
            held.set_result(Held(by, write, loop.create_future()))
            answer = await held.result().answer
            if answer is None:
                write.unanswered()
            return answer

        for replica in self.replicas:
            replica.writes.expect(partial(hold, by=replica), at)
        return held

    async def _pause(self, held: Held, fate: str, others: asyncio.Task[str]) -> Replica:
        """It sleeps until the other replica has done everything up to the start of b."""
        leader, fallen = held.by, held.by.fallen()
        leader.signal(signal.SIGSTOP)
        if fate == EARLIER:
            await held.done()
        await asyncio.wait([others])
        if fate == NOW:
            await held.done()
        leader.signal(signal.SIGCONT)
        if fate == NEVER:
            held.answer.set_result(None)
        await becomes(lambda: leader.has_fallen(fallen + 1))
        # By then it has done what it may have had in mind.
        await asyncio.sleep(1)
        return leader

    @staticmethod
    async def _until_b_runs(scene: Scene) -> str:
        await scene.completes("a")
        return await scene.runs("b")


@contextlib.asynccontextmanager
async def pair(kubeconfig: str, kubectl: Kubectl, folders: Iterable[Path]) -> AsyncIterator[Pair]:
    """Two replicas, of which one leads and the other one knows it."""
    async with contextlib.AsyncExitStack() as stack:
        place, watcher = await stack.enter_async_context(watched(kubeconfig, kubectl))
        replicas = []
        for folder, part in zip(folders, ("leading", "standing by"), strict=True):
            replicas.append(await stack.enter_async_context(replica(place, kubeconfig, folder)))
            await becomes(partial(says, replicas[-1].running, part), seconds=60)
        yield Pair(place, watcher, replicas)


@contextlib.asynccontextmanager
async def replica(place: Namespace, kubeconfig: str, folder: Path) -> AsyncIterator[Replica]:
    async with serving(Writes, kubeconfig, folder) as (writes, path), operator(place, path, folder) as running:
        yield Replica(running, writes)


async def test_a_leader_that_slept_over_its_lease_does_no_harm(
    kubeconfig: str, kubectl: Kubectl, crd: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cases = [(at, fate) for at in range(1, WRITES + 1) for index, fate in enumerate(FATES) if (at + index) % EVERY == 0]
    print(f"{len(cases)} cases")
    wrong: list[str] = []

    async def work() -> None:
        folders = [tmp_path_factory.mktemp("replica") for _ in range(2)]
        async with pair(kubeconfig, kubectl, folders) as two:
            while cases:
                at, fate = cases.pop(0)
                wrong.extend(f"write {at}, {fate}: {what}" for what in await two.play(at, fate))

    async with asyncio.TaskGroup() as group:
        for _ in range(PAIRS):
            group.create_task(work())
    assert not wrong, "\n".join(wrong)
