"""Fault injection into every write of every scenario, on a real API server with a real Job controller.

A scenario is played once without a fault, and its writes are counted as the API server sees them. (Now and then there
are fewer, since one status update carries two changes; a case whose fault was never injected is played again.) Then it
is played once for each write and each fault (`fault_proxy`): the operator is killed before or after the write, or
the API server refuses it, fails, answers too late or not at all. In each case the evaluations end as they do without a
fault, every attempt has one Job and one pod whose scheduling gate was removed, no slot ever has two live attempts, a
terminal phase does not change, the slot is free at the end, and an operator that starts then finds nothing to write.

There is no node: the scenarios play scheduler, kubelet and reporter. There are about a thousand pairs of write and
fault. By default every fifth is played (of long scenarios every tenth), and with LMMS_EVAL_SWEEP_EVERY=1 all are.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from deployment import Kubectl
from fault_proxy import FAULTS, KILLS
from scenario_runner import ScenarioRunner, open_scenario_runner
from scenarios import COMPLETED, Scenario, ScenarioRun

from lmms_eval_operator import action_failures, refusals, view

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

# A case mostly waits for the Job controller.
RUNNERS = 12
TRIES = 4
EVERY = int(os.environ.get("LMMS_EVAL_SWEEP_EVERY", "5"))
ALL_FAULTS = {**KILLS, **FAULTS}


async def a_run(run: ScenarioRun) -> None:
    await run.submit("a")
    await run.complete("a")


async def a_failure(run: ScenarioRun) -> None:
    await run.submit("a", retries=2)
    await run.fail("a", 70)


async def a_second_attempt(run: ScenarioRun) -> None:
    await run.submit("a", retries=1)
    await run.fail("a", 137)
    await run.complete("a", attempt=2)


async def attempts_used_up(run: ScenarioRun) -> None:
    await run.submit("a", retries=1)
    await run.fail("a", 71)
    await run.fail("a", 69, attempt=2)


async def cancelled_while_it_runs(run: ScenarioRun) -> None:
    await run.submit("a")
    await run.start_run("a")
    await run.edit("a", cancel=True)
    await run.wait_for_reason("a", "Cancelling")
    await run.stop("a")


async def cancelled_between_attempts(run: ScenarioRun) -> None:
    await run.submit("a", retries=1)
    await run.fail("a", 137)
    await run.wait_for_reason("a", "Retrying")
    await run.edit("a", cancel=True)


async def out_of_time(run: ScenarioRun) -> None:
    await run.submit("a", timeoutSeconds=3600)
    await run.start_run("a")
    await run.backdate_start("a")
    await run.wait_for_reason("a", "Cancelling")
    await run.stop("a")


async def one_after_the_other(run: ScenarioRun) -> None:
    await run.submit("a", priority=1)
    await run.submit("b")
    await run.complete("a")
    await run.complete("b")


async def deleted_while_it_runs(run: ScenarioRun) -> None:
    await run.submit("a", priority=1)
    await run.submit("b")
    await run.start_run("a")
    await run.delete("a")
    await run.stop("a")
    await run.complete("b")


async def refused_by_a_policy_after_a_poison_pill(run: ScenarioRun) -> None:
    await run.refuse_jobs(True)
    await run.submit(
        "pill", priority=1, modelArgs={"tensor_parallel_size": "9" * 4096, "data_parallel_size": "9" * 4096}
    )
    await run.submit("good")
    await run.wait_for_reason("good", "JobRefused")
    await run.refuse_jobs(False)
    await run.complete("good")


async def kept_by_a_foreign_container_on_a_node_whose_clock_is_slow(run: ScenarioRun) -> None:
    await run.submit("a", stallTimeoutSeconds=60)
    pod = await run.start_run("a")
    for reached in ("Evaluating", "Scoring"):
        await run.report_stage("a", reached, at="2020-01-01T00:00:00Z")
    await run.publish_beside_foreign_container("a", pod)


SCENARIOS = {
    "run": Scenario(a_run, {"a": COMPLETED}),
    "fail": Scenario(a_failure, {"a": ("Failed", "EvaluationError", [("EvaluationError", 70)])}),
    "retry": Scenario(a_second_attempt, {"a": ("Completed", "Succeeded", [("Interrupted", 137), ("Succeeded", 0)])}),
    "give up": Scenario(attempts_used_up, {"a": ("Failed", "Unreachable", [("GPUError", 71), ("Unreachable", 69)])}),
    "cancel": Scenario(cancelled_while_it_runs, {"a": ("Cancelled", "CancelledByUser", [("CancelledByUser", 143)])}),
    "cancel between attempts": Scenario(
        cancelled_between_attempts,
        {"a": ("Cancelled", "CancelledByUser", [("Interrupted", 137)])},
        {"retry_backoff_seconds": 60},
    ),
    "deadline": Scenario(out_of_time, {"a": ("Failed", "DeadlineExceeded", [("DeadlineExceeded", 143)])}),
    "hand-off": Scenario(one_after_the_other, {"a": COMPLETED, "b": COMPLETED}),
    "delete": Scenario(deleted_while_it_runs, {"a": None, "b": COMPLETED}),
    "pill and policy": Scenario(
        refused_by_a_policy_after_a_poison_pill, {"pill": ("Failed", "InvalidSpec", []), "good": COMPLETED}, one_in=2
    ),
    "foreign container and clock": Scenario(
        kept_by_a_foreign_container_on_a_node_whose_clock_is_slow, {"a": COMPLETED}, one_in=2
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runners(
    kubeconfig: str, kubectl: Kubectl, crd: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[ScenarioRunner]]:
    """Return runners that are used concurrently; the operator's longer waits take a second on them."""
    async with contextlib.AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(action_failures, "FIRST_WAIT_SECONDS", 1.0)
        patch.setattr(refusals, "FIRST_WAIT_SECONDS", 1.0)
        patch.setattr(view, "KEPT_SECONDS", 1.0)
        folders = [tmp_path_factory.mktemp("scenarios") for _ in range(RUNNERS)]
        yield [await stack.enter_async_context(open_scenario_runner(kubeconfig, kubectl, folder)) for folder in folders]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_promises_hold_whichever_write_has_a_fault(runners: list[ScenarioRunner], name: str) -> None:
    scenario = SCENARIOS[name]
    without_fault = await asyncio.gather(*(runner.play(scenario) for runner in runners))
    assert not any(result.broken_promises for result in without_fault), [
        result.broken_promises for result in without_fault
    ]
    writes = min(len(result.writes) for result in without_fault)
    cases = select_cases(writes, every=EVERY * scenario.one_in if EVERY > 1 else 1)
    print(f"{name}: {writes} writes, {len(cases)} cases")
    wrong: list[str] = []

    async def work(runner: ScenarioRunner) -> None:
        while cases:
            at, fault = cases.pop(0)
            wrong.extend(await play_with_fault(runner, scenario, at, fault))

    async with asyncio.TaskGroup() as group:
        for runner in runners:
            group.create_task(work(runner))
    assert not wrong, "\n".join(wrong)


def select_cases(writes: int, *, every: int) -> list[tuple[int, str]]:
    """Return every n-th pair of write and fault, spread so that each write and each fault is among them."""
    numbered = itertools.product(range(1, writes + 1), enumerate(ALL_FAULTS))
    return [(at, fault) for at, (index, fault) in numbered if (at + index) % every == 0]


async def play_with_fault(runner: ScenarioRunner, scenario: Scenario, at: int, fault: str) -> list[str]:
    """Return a sentence for each broken promise.

    Renewals of the Lease, and reports that one write carries together, make a play a few writes longer or shorter: a
    play that ended before this write is followed by one whose last write has the fault.
    """
    try:
        result = await runner.play(scenario, ALL_FAULTS[fault], at)
        for _ in range(TRIES - 1):
            if result.hit or result.broken_promises:
                break
            at = min(at, len(result.writes))
            result = await runner.play(scenario, ALL_FAULTS[fault], at)
    except BaseException as error:
        error.add_note(f"write {at}, {fault}")
        raise
    missed = [] if result.hit else [f"there was no such write: {result.writes}"]
    return [f"write {at} ({result.hit}), {fault}: {what}" for what in [*missed, *result.broken_promises]]
