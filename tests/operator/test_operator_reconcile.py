"""The loop around the plan: waiting, waking, backing off, and dying of a defect; the probes and the log beside it."""

import asyncio
import io
import json
import logging
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fake_api_server import FakeCluster, FakeKubeClient
from operator_builders import retrying
from simulation import SETTINGS, SPEC, SimulatedOperator, start_attempts

from lmms_eval_core import jsonlog
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_operator import main, probes, reconcile
from lmms_eval_operator.reconcile import FIRST_BACKOFF, PERIOD_SECONDS, Health, Reconciler
from lmms_eval_operator.structured_log import log_fields


class Refusing:
    """An observer whose lists fail, as often as told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.lists = 0
        self.of_evaluations = 0

    async def read_everything(self, *, make_slots: bool = True, evaluations: bool = True) -> None:
        self.lists += 1
        self.of_evaluations += evaluations
        if self.failures:
            raise self.failures.pop(0)


def reconciler(observer: Any) -> Reconciler:
    made = main.compose_reconciler(FakeKubeClient(FakeCluster()), SETTINGS)
    made.observer = observer
    return made


async def seen(condition: Any) -> None:
    async with asyncio.timeout(PERIOD_SECONDS * 2 / 3):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_it_waits_for_the_period_and_wakes_at_once() -> None:
    loop = reconciler(Refusing())
    assert await loop.work() == PERIOD_SECONDS
    task = asyncio.create_task(loop.run())
    await seen(lambda: loop.health.good_at > 0)
    before = loop.health.good_at
    loop.wake.set()
    await seen(lambda: loop.health.good_at > before)
    task.cancel()


async def test_an_api_server_that_fails_is_asked_again_later_and_for_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconcile, "FIRST_BACKOFF", 0.01)
    observer = Refusing(errors.Unavailable("away"), errors.Throttled("slow down", retry_after=0.1))
    loop = reconciler(observer)
    loop._backoff = 0.01
    task = asyncio.create_task(loop.run())
    await seen(lambda: observer.lists == 3)
    await seen(lambda: loop.health.good_at > 0)
    assert loop._backoff == 0.01
    task.cancel()


async def test_while_backing_off_events_do_not_hurry_it() -> None:
    observer = Refusing(*[errors.Unavailable("away")] * 9)
    loop = reconciler(observer)
    task = asyncio.create_task(loop.run())
    await seen(lambda: observer.lists == 1)
    for _ in range(20):
        loop.wake.set()
        await asyncio.sleep(0.005)
    assert observer.lists == 1 and loop.health.good_at == float("-inf")
    assert loop._backoff > FIRST_BACKOFF
    task.cancel()


async def test_being_elected_hurries_it_even_then() -> None:
    observer = Refusing(*[errors.Unavailable("away")] * 9)
    loop = reconciler(observer)
    loop._backoff = 60.0
    task = asyncio.create_task(loop.run())
    await seen(lambda: observer.lists == 1)
    loop.elected.set()
    await seen(lambda: observer.lists == 2)
    task.cancel()


async def test_it_waits_a_moment_for_the_election_before_its_first_list() -> None:
    observer, term = Refusing(), 0
    loop = reconciler(observer)
    loop.term = lambda: term
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0.05)
    assert observer.lists == 0 and loop.health.beat_at > 0
    term = 1
    loop.elected.set()
    await seen(lambda: loop.health.good_at > 0)
    assert observer.lists == 1
    task.cancel()


async def test_evaluations_whose_list_takes_long_are_listed_more_rarely() -> None:
    now, took = 1000.0, 2.0

    class Slow(Refusing):
        async def read_everything(self, *, make_slots: bool = True, evaluations: bool = True) -> None:
            nonlocal now
            await super().read_everything(make_slots=make_slots, evaluations=evaluations)
            now += took if evaluations else 0

    observer = Slow()
    loop = reconciler(observer)
    loop.clock = lambda: now
    for _ in range(10):
        await loop.work()
        now += reconcile.RELIST_SECONDS
    assert (observer.lists, observer.of_evaluations) == (10, 3)


async def test_each_term_begins_with_a_fresh_list_and_counts_time_anew() -> None:
    observer = Refusing()
    loop = reconciler(observer)
    waits = retrying("a")
    loop.view.evaluations.put(waits)
    for now, term, lists, seen_waiting in (
        (100, 1, 1, 0),
        (104, 1, 1, 4),
        (104, 2, 2, 0),
        (106, 2, 2, 2),
        (106, 0, 3, 0),
        (107, 3, 4, 0),
    ):
        loop.clock, loop.term = partial(float, now), partial(int, term)
        await loop.work()
        assert (observer.lists, loop.view.seconds_delayed(waits, now)) == (lists, seen_waiting)


def test_a_follower_knows_everything_and_writes_nothing() -> None:
    cluster, operator = waiting_evaluation()
    operator.reconciler.term = lambda: 0
    operator.finish_pass()
    assert [item.name for item in operator.view.evaluations] == ["a"]
    assert cluster.writes == 0


def test_the_end_of_a_term_ends_a_round_after_the_action_it_was_in() -> None:
    cluster, operator = waiting_evaluation()
    operator.reconciler.term = lambda: int(cluster.writes < 2)
    operator.finish_pass()
    operator.finish_pass()
    assert cluster.writes == 2, "the slot was made and claimed"
    operator.reconciler.term = lambda: 2
    start_attempts(cluster, operator)
    assert cluster.get(EVALUATIONS, "a")["status"]["phase"] == "Running"


def waiting_evaluation() -> tuple[FakeCluster, SimulatedOperator]:
    cluster = FakeCluster()
    cluster.create(EVALUATIONS, {"metadata": {"name": "a", "namespace": "test"}, "spec": SPEC})
    return cluster, SimulatedOperator(cluster, 1)


async def test_a_defect_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        await reconciler(Refusing(ZeroDivisionError())).run()


async def test_a_defect_ends_the_process_and_a_signal_does_so_quietly() -> None:
    stopping = asyncio.Event()

    async def breaks() -> None:
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await main.run_until(stopping, asyncio.sleep(0), breaks(), asyncio.sleep(60))
    asyncio.get_running_loop().call_later(0.01, stopping.set)
    await main.run_until(stopping, asyncio.sleep(60), asyncio.sleep(0))


class Stubborn(FakeKubeClient):
    """Refuses every write to one evaluation's status."""

    def __init__(self, cluster: FakeCluster, error: errors.KubeError) -> None:
        super().__init__(cluster)
        self.error = error
        self.refused = 0

    async def json_patch(self, resource: Any, name: str, patch: Any, *, subresource: str = "") -> Any:
        if name == "odd":
            self.refused += 1
            raise self.error
        return await super().json_patch(resource, name, patch, subresource=subresource)


@pytest.mark.parametrize(
    ("error", "tries"), [(errors.Conflict("changed"), 3), (errors.Invalid("no"), 1), (errors.Forbidden("no"), 1)]
)
def test_an_evaluation_that_cannot_be_written_holds_up_no_other(error: errors.KubeError, tries: int) -> None:
    cluster = FakeCluster()
    for name, hold in (("odd", True), ("good", False)):
        cluster.create(EVALUATIONS, {"metadata": {"name": name, "namespace": "test"}, "spec": {**SPEC, "hold": hold}})
    operator = SimulatedOperator(cluster, 1)
    client = Stubborn(cluster, error)
    operator.reconciler.executor._client = client
    operator.finish_pass()
    assert client.refused == tries
    start_attempts(cluster, operator)
    assert cluster.get(EVALUATIONS, "good")["status"]["phase"] == "Running"


def test_a_pass_that_finds_no_end_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "MAX_ROUNDS", 2)
    cluster = FakeCluster()
    cluster.create(EVALUATIONS, {"metadata": {"name": "a", "namespace": "test"}, "spec": SPEC})
    operator = SimulatedOperator(cluster, 1)
    work = operator.reconciler.work()
    with pytest.raises(StopIteration) as ended:
        for _ in range(100):
            work.send(None)
    assert ended.value.value == 0.0


def test_missing_settings_are_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LMMS_EVAL_NAMESPACE", raising=False)
    assert main.main() == 2
    assert "LMMS_EVAL_NAMESPACE is not set" in capsys.readouterr().err


async def test_the_probes_tell_the_age_of_the_last_beat_and_of_the_last_good_pass() -> None:
    now = 1000.0
    health = Health(lambda: now)
    runner = web.AppRunner(probes.build_application(health, lambda: b""))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def ask(path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{path}") as answer:
            return answer.status, (await answer.text()).strip()

    assert await ask("readyz") == (503, "last good pass: never")
    health.record_beat()
    health.record_good_pass()
    now += 50
    assert await ask("livez") == (200, "last beat of the loop: 50.0 s ago")
    assert await ask("readyz") == (503, "last good pass: 50.0 s ago")
    now += 50
    assert (await ask("livez"))[0] == 503
    await runner.cleanup()


def test_a_log_line_is_one_json_object_with_the_same_keys_for_the_same_things() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(jsonlog.JsonFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info("done %d", 1, extra=log_fields(evaluation="a", slot=0, job=None))
    try:
        raise ValueError("x\ny")
    except ValueError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["evaluation"], first["slot"]) == ("done 1", "info", "a", 0)
    assert "job" not in first and first["time"].endswith("+00:00")
    assert second["traceback"].endswith("ValueError: x\ny")
