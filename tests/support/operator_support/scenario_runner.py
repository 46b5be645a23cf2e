"""Plays scenarios with operators of this process, through a proxy that counts their writes and injects faults.

An operator that is killed loses its task in the event loop and its connection; the next one starts at once with an
empty view. They get events from the namespace's observer, which faults do not touch.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from api_server_proxy import serve_proxy
from deployment import Kubectl
from fault_proxy import TIMEOUT_FAULTS, FaultProxy, WriteFault
from operator_namespace import OperatorNamespace
from scenarios import NamespaceObserver, Scenario, ScenarioRun, install_job_policy, observe_namespace

from lmms_eval_core.kube.transport import REQUEST_SECONDS, connect
from lmms_eval_operator.main import compose_reconciler, make_sink
from lmms_eval_operator.reconcile import Reconciler
from lmms_eval_operator.settings import Settings

# Time-out of an operator whose answers do not come; the others have the usual one.
SHORT_TIMEOUT_SECONDS = 2.0
CASE_SECONDS = 120.0
# Longer than from any write that is due at once to the next.
REST_SECONDS = 0.5


@dataclass(frozen=True)
class ScenarioResult:
    """The result of a scenario: the writes, the one with the fault, and a sentence for each broken promise."""

    writes: list[str]
    hit: str
    broken_promises: list[str]


class ScenarioRunner:
    """Plays one scenario at a time in its namespace."""

    def __init__(
        self, place: OperatorNamespace, observer: NamespaceObserver, writes: FaultProxy, kubeconfig: str
    ) -> None:
        self._place = place
        self._observer = observer
        self._writes = writes
        self._kubeconfig = kubeconfig

    async def play(self, scenario: Scenario, fault: WriteFault | None = None, at: int = 0) -> ScenarioResult:
        """Play a scenario; `fault` is injected into the operator's write number `at`."""
        run = ScenarioRun(self._place, self._observer)
        self._writes.set_fault(fault, at)
        settings = replace(self._place.settings, **scenario.settings)
        timeout = SHORT_TIMEOUT_SECONDS if fault in TIMEOUT_FAULTS else REQUEST_SECONDS
        try:
            async with asyncio.timeout(CASE_SECONDS), asyncio.TaskGroup() as group:
                operators = group.create_task(self._run_operators(settings, timeout))
                await self._play_to_rest(scenario, run)
                operators.cancel()
            wrong = run.find_broken_promises(scenario.ends)
        except TimeoutError:
            wrong = [f"it never came to its end: {run.describe()}"]
        writes, hit = self._writes.seen, self._writes.hit
        wrong += await self._find_writes_at_rest(settings)
        await run.clear()
        await run.clear_slots()
        return ScenarioResult(writes, hit, wrong)

    async def _play_to_rest(self, scenario: Scenario, run: ScenarioRun) -> None:
        await scenario.play(run)
        await run.wait_until_over()
        written = -1
        while written != len(self._writes.seen) or self._writes.under_way:
            written = len(self._writes.seen)
            await asyncio.sleep(REST_SECONDS)

    async def _run_operators(self, settings: Settings, timeout: float) -> None:
        """Run operators one after the other until cancelled: the next one starts when one was killed."""
        while True:
            self._writes.killed.clear()
            async with self._connect_operator(settings, timeout) as operator:
                self._observer.sink = make_sink(operator, lambda: None)
                await _wait_for_first(operator.run(), self._writes.killed.wait())

    async def _find_writes_at_rest(self, settings: Settings) -> list[str]:
        """List what a new operator writes when all is done: it must be nothing."""
        self._writes.set_fault(None, 0)
        async with self._connect_operator(settings, REQUEST_SECONDS) as operator:
            await operator.work()
        return [f"at rest: {write}" for write in self._writes.seen]

    @contextlib.asynccontextmanager
    async def _connect_operator(self, settings: Settings, timeout: float) -> AsyncIterator[Reconciler]:
        client = await connect(namespace=settings.namespace, kubeconfig=self._kubeconfig, request_seconds=timeout)
        operator = compose_reconciler(client, settings)
        # A timer of the user counts from the first moment on.
        operator.view.steady_seconds = 0.0
        try:
            yield operator
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def open_scenario_runner(kubeconfig: str, kubectl: Kubectl, folder: Path) -> AsyncIterator[ScenarioRunner]:
    """Open a runner in a namespace of its own."""
    async with contextlib.AsyncExitStack() as stack:
        place, observer = await stack.enter_async_context(observe_namespace(kubeconfig, kubectl))
        await stack.enter_async_context(install_job_policy(place.client))
        writes, path = await stack.enter_async_context(serve_proxy(FaultProxy, kubeconfig, folder))
        yield ScenarioRunner(place, observer, writes, path)


async def _wait_for_first(*works: Awaitable[Any]) -> None:
    """Wait until one of them ends; raise what it raises."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
