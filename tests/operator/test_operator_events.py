"""What an event says and is called; the queue that writes it; and how `kubectl describe` shows it on a
real API server.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from deployment import Kubectl
from operator_builders import queued, running
from operator_namespace import OperatorNamespace, build_running_status, work_until
from operator_process import wait_until

from lmms_eval_core import failures
from lmms_eval_core.jsonlog import JsonFormatter
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVENTS, KubeClient, Object
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_operator import event_recorder
from lmms_eval_operator.event_recorder import (
    EventAllowance,
    EventRecorder,
    build_event,
    build_resume_events,
    format_duration,
    is_alarming,
    name_action,
    name_event,
)
from lmms_eval_operator.main import compose_reconciler, now_utc
from lmms_eval_operator.metrics import PLACES, find_outcome
from lmms_eval_operator.objects import Evaluation
from lmms_eval_operator.reconcile import Reconciler
from lmms_eval_operator.transitions import find_resume_facts, log_move, notify_listeners

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
NOW = CREATED + timedelta(seconds=303)
ENDINGS = [(Phase(find_outcome(ending.reason)), ending.reason) for ending in failures.ENDINGS]


def told(before: Evaluation, after: Evaluation) -> Object:
    return build_event(before, after, namespace="team-a", instance="operator-0", now=NOW)


# What it says.


def test_a_start_tells_which_attempt_in_which_slot_and_how_long_it_waited() -> None:
    item = told(queued(), running(slot=0))
    assert item["message"] == "attempt 1 starts in slot 0, 5m3s after it was created"
    assert (item["type"], item["reason"], item["action"]) == ("Normal", "Starting", "Start")


def test_another_start_does_not_speak_of_the_queue() -> None:
    again = queued(attempt=1, reason="Retrying")
    assert told(again, running(attempt=2, slot=3))["message"] == "attempt 2 starts in slot 3"


def test_the_statuss_own_message_comes_first_and_is_cut() -> None:
    assert told(running(), running(reason="Unschedulable", message="0/3 nodes"))["message"] == "0/3 nodes"
    assert len(told(running(), running(reason="Unschedulable", message="x" * 5000))["message"]) == 1024


@pytest.mark.parametrize(("phase", "reason"), [*PLACES, *ENDINGS])
def test_every_place_has_a_sentence_and_a_name_that_the_api_server_takes(phase: Phase, reason: Reason) -> None:
    item = told(running("a" * 63), running("a" * 63, phase=phase, reason=reason.value))
    assert item["message"]
    assert item["reason"] == reason.value
    assert len(item["metadata"]["name"]) <= 253
    assert item["metadata"]["name"] == item["metadata"]["name"].lower()


def test_names_sort_as_a_run_goes() -> None:
    story = [
        queued(reason="OnHold"),
        running(reason="Starting"),
        running(reason="PullingImage"),
        running(reason="LoadingModel"),
        running(reason="Evaluating"),
        running(reason="Cancelling"),
        queued(attempt=1, reason="Retrying"),
        running(attempt=2, reason="Starting"),
        running(attempt=2, phase=Phase.FAILED, reason="NodeLost"),
    ]
    assert [name_event(item) for item in story] == sorted(name_event(item) for item in story)


def test_a_name_is_that_of_a_move_whoever_tells_and_whenever() -> None:
    first = build_event(queued(), running(), namespace="a", instance="one", now=NOW)
    again = build_event(running(), running(version="99"), namespace="a", instance="two", now=NOW + timedelta(hours=1))
    assert first["metadata"]["name"] == again["metadata"]["name"]
    others = [running("b"), running(attempt=2), running(reason="Evaluating"), running(phase=Phase.QUEUED)]
    assert len({name_event(item) for item in [running(), *others]}) == len(others) + 1


def test_what_a_person_should_look_at_is_a_warning() -> None:
    assert {
        reason for phase, reason in [*PLACES, *ENDINGS] if is_alarming(running(phase=phase, reason=reason.value))
    } == {
        *event_recorder.ALARMING,
        *(reason for phase, reason in ENDINGS if phase is Phase.FAILED),
    }


def test_an_action_names_what_the_operator_did() -> None:
    assert name_action(queued(), running()) == "Start"
    assert name_action(running(), queued(attempt=1)) == "Requeue"
    assert name_action(running(), running(reason="Evaluating")) == "Report"
    assert {name_action(running(), running(phase=phase)) for phase in TERMINAL} == {"Finish"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m0s"), (3599, "59m59s"), (7620, "2h7m")]
)
def test_durations_read_as_in_kubectl(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_move_is_a_line_in_the_log_with_the_statuss_own_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        log_move(running(), running(reason="Unschedulable", message="0/3 nodes"))
    line = json.loads(JsonFormatter().format(caplog.records[-1]))
    facts = {"event": "moved", "before": "Starting", "reason": "Unschedulable", "sentence": "0/3 nodes", "attempt": 1}
    assert facts.items() <= line.items()


RESUMED: dict[str, Any] = {"resumed": {"answers": 120, "fromAttempt": 1, "exactness": "exact"}}
ANEW: dict[str, Any] = {"startedAnew": "weights differ from attempt 1"}
FULL = "No space left on device"
NOT_KEPT: dict[str, Any] = {"notKept": FULL}


def second(reason: str = "Evaluating", **facts: Any) -> Evaluation:
    """The second attempt of an evaluation, whose entry has these facts."""
    return running(attempt=2, reason=reason, attempts=({"number": 1}, {"number": 2, **facts}))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (RESUMED, ("Normal", "Resumed", "goes on after 120 answers of attempt 1 (exact)")),
        (
            {"resumed": {"answers": 1, "fromAttempt": 1, "exactness": "equivalent"}, **ANEW},
            ("Normal", "Resumed", "goes on after 1 answer of attempt 1 (equivalent)"),
        ),
        (ANEW, ("Warning", "StartedAnew", "answers of earlier attempts do not count: weights differ from attempt 1")),
        (NOT_KEPT, ("Warning", "AnswersNotKept", f"no more answers are kept for another attempt: {FULL}")),
    ],
)
def test_what_becomes_of_the_answers_of_attempts_is_an_event(facts: Object, said: tuple[str, ...]) -> None:
    (item,) = build_resume_events(second(**facts), facts, namespace="team-a", instance="operator-0", now=NOW)
    assert (item["type"], item["reason"], item["message"]) == said
    name = item["metadata"]["name"]
    assert name_event(second("Evaluating")) < name < name_event(second("Scoring")) and name == name.lower()
    assert item["involvedObject"] == told(running(), running())["involvedObject"]


def test_it_is_told_once_for_each_attempt() -> None:
    assert find_resume_facts(second(), second(**RESUMED)) == RESUMED
    assert find_resume_facts(second(**RESUMED), second("Scoring", **RESUMED)) == {}
    assert find_resume_facts(second(**RESUMED), second("Scoring", **RESUMED | ANEW)) == {}
    assert find_resume_facts(queued(), running()) == {} == find_resume_facts(queued(), queued())
    assert find_resume_facts(second(**RESUMED), second(**RESUMED, **NOT_KEPT)) == NOT_KEPT
    assert find_resume_facts(second(**RESUMED, **NOT_KEPT), second("Scoring", **RESUMED, **NOT_KEPT)) == {}
    third = replace(second(**RESUMED), attempt=3, attempts=({"number": 2, **RESUMED}, {"number": 3, **ANEW}))
    assert find_resume_facts(second(**RESUMED), third) == ANEW


async def test_a_report_of_both_writes_two_events_and_one_of_it_alone_one() -> None:
    bench = Bench()
    listener = notify_listeners(log_move, bench.recorder.record_move)
    listener(second("LoadingModel"), second("Evaluating", **RESUMED))
    listener(second("Evaluating", **RESUMED), second("Scoring", **RESUMED))
    listener(second("Evaluating"), second("Evaluating", **ANEW, **NOT_KEPT))
    await bench.settle(*["written"] * 5)
    assert [name[name.index("running-") :] for name in bench.server.created] == [
        "running-evaluating-resumed",
        "running-evaluating",
        "running-scoring",
        "running-evaluating-startedanew",
        "running-evaluating-answersnotkept",
    ]


def test_a_changed_message_alone_is_no_move() -> None:
    heard: list[str] = []
    listener = notify_listeners(lambda before, after: heard.append(after.reason))
    listener(running(reason="Unschedulable", message="0/3"), running(reason="Unschedulable", message="0/4"))
    assert heard == []
    listener(queued(), running())
    listener(running(), running(reason="Evaluating"))
    assert heard == ["Starting", "Evaluating"]


# How it is written.


async def settled(results: list[str], count: int) -> None:
    async def so_many() -> bool:
        return len(results) >= count

    await wait_until(so_many)


class Answers:
    """An API server's answers to creates, one after the other; the last one for ever."""

    namespace = "team-a"

    def __init__(self, *answers: errors.KubeError | None) -> None:
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1] if answers else None))
        self.created: list[str] = []

    async def create(self, resource: Any, body: Object, *, dry_run: bool = False) -> Object:
        answer = next(self._answers)
        if answer is not None:
            raise answer
        self.created.append(body["metadata"]["name"])
        return body


class Bench:
    """A recorder, what became of its events, and a clock that a test sets."""

    def __init__(self, *answers: errors.KubeError | None) -> None:
        self.now = 0.0
        self.results: list[str] = []
        self.server = Answers(*answers)
        client: Any = self.server
        self.recorder = EventRecorder(
            client, instance="me", clock=lambda: self.now, time=now_utc, count=self.results.append
        )

    async def settle(self, *expected: str) -> None:
        writer = asyncio.create_task(self.recorder.run())
        await settled(self.results, len(expected))
        writer.cancel()
        assert self.results == list(expected)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_recorder, "FIRST_BACKOFF", 0.01)


async def test_an_api_server_that_is_away_is_waited_for() -> None:
    bench = Bench(errors.Unavailable("away"), errors.Throttled("slow down"), None)
    bench.recorder.record_move(queued(), running())
    await bench.settle("written")


async def test_what_is_older_than_anybodys_patience_is_dropped() -> None:
    bench = Bench(errors.Unavailable("away"))
    bench.recorder.record_move(queued(), running())
    bench.now = event_recorder.GIVE_UP_SECONDS + 1
    await bench.settle("dropped")


@pytest.mark.parametrize("error", [errors.Forbidden("no"), errors.Invalid("wrong")])
async def test_a_refusal_is_not_argued_with_and_the_next_one_is_written(error: errors.KubeError) -> None:
    bench = Bench(error, None)
    bench.recorder.record_move(queued(), running())
    bench.recorder.record_move(queued("b"), running("b"))
    await bench.settle("dropped", "written")
    assert bench.server.created[0].startswith("b.")


async def test_memory_is_bounded_while_nothing_can_be_written() -> None:
    bench = Bench()
    for number in range(event_recorder.QUEUED_EVENTS + 7):
        bench.recorder.record_move(queued(f"e{number}"), running(f"e{number}"))
    assert bench.results == ["dropped"] * 7


async def test_one_that_flaps_floods_nobody_and_its_end_is_told_all_the_same() -> None:
    bench = Bench()
    for reason in itertools.islice(itertools.cycle(["PullingImage", "ImagePullError"]), 200):
        bench.recorder.record_move(running(), running(reason=reason))
    assert bench.results == ["suppressed"] * (200 - event_recorder.BURST)
    bench.now += 3 * event_recorder.REFILL_SECONDS
    for _ in range(5):
        bench.recorder.record_move(running(), running(reason="PullingImage"))
    assert len(bench.results) == 200 - event_recorder.BURST + 2
    bench.recorder.record_move(running(), running(phase=Phase.FAILED, reason="BadArguments"))
    assert len(bench.results) == 200 - event_recorder.BURST + 2


def test_allowances_of_the_quiet_are_forgotten() -> None:
    allowance = EventAllowance(lambda: 0.0, remembered=2)
    for uid in ("a", "b", "c"):
        assert allowance.take(uid)
    assert len(allowance._left) == 2


# On a real API server.


@asynccontextmanager
async def telling(
    place: OperatorNamespace, client: KubeClient | None = None
) -> AsyncIterator[tuple[Reconciler, list[str]]]:
    """An operator that writes events, and how they fared."""
    results: list[str] = []
    recorder = EventRecorder(
        client or place.client,
        instance="operator-0",
        clock=asyncio.get_running_loop().time,
        time=now_utc,
        count=results.append,
    )
    operator = compose_reconciler(
        place.client, place.settings, recorder.record_move, time_of_day=lambda: now_utc() + place.time_passed
    )
    operator.relist_seconds = 0
    writer = asyncio.create_task(recorder.run())
    yield operator, results
    writer.cancel()


def is_at(place: OperatorNamespace, name: str, reason: str) -> Callable[[], Any]:
    async def holds() -> bool:
        return (await place.read_phase(name))[1] == reason

    return holds


def rows(description: str) -> list[list[str]]:
    """(type, reason, sentence) of the events in a description."""
    lines = description.partition("Events:")[2].splitlines()[3:]
    return [[line.split()[0], line.split()[1], line.partition(event_recorder.COMPONENT)[2].strip()] for line in lines]


@pytest.mark.integration
@pytest.mark.timeout(180)
async def test_describe_tells_the_story(place: OperatorNamespace, kubectl: Kubectl) -> None:
    place.settings = replace(place.settings, retry_backoff_seconds=30)
    await place.submit("a", hold=True, retries=1)
    async with telling(place) as (operator, results):
        await work_until(operator, is_at(place, "a", "OnHold"))
        await place.edit("a", hold=False)
        await work_until(operator, is_at(place, "a", "Starting"))
        await place.end_pod_of("a", 75)
        await work_until(operator, is_at(place, "a", "Retrying"))
        place.time_passed = timedelta(minutes=1)
        await work_until(operator, is_at(place, "a", "Starting"))
        pod = await place.wait_for_pod_of_job((await place.read_status("a"))["jobName"])
        assert await place.bind("a") == pod
        await place.set_pod_status(pod, containerStatuses=[build_running_status()])
        await place.report_stage("a", stage="Evaluating", updated_at="2026-01-01T00:00:00Z")
        await work_until(operator, is_at(place, "a", "Evaluating"))
        await place.publish_scores("a")
        await place.end_pod(pod, 0)
        await work_until(operator, is_at(place, "a", "Succeeded"))
        await settled(results, 6)
    description = kubectl("-n", place.client.namespace, "describe", "lmmevaluation", "a")
    print(description)
    assert [row[:2] for row in rows(description) if row[1] != "WaitingForTurn"] == [
        ["Normal", "OnHold"],
        ["Normal", "Starting"],
        ["Warning", "Retrying"],
        ["Normal", "Starting"],
        ["Normal", "Evaluating"],
        ["Normal", "Succeeded"],
    ]
    assert all(row[2] for row in rows(description))
    assert set(results) == {"written"}


@pytest.mark.integration
async def test_what_is_told_again_raises_a_count(place: OperatorNamespace, kubectl: Kubectl) -> None:
    item = await place.submit("a")
    before = running("a", uid=item["metadata"]["uid"])
    after = running("a", uid=before.uid, reason="ImagePullError", message="cannot pull")
    async with telling(place) as (one, results), telling(place) as (other, more):
        for operator in (one, other, one, other):
            operator.executor._on_status_written(before, after)
        await settled(results, 2)
        await settled(more, 2)
    (stored,) = (await place.client.list(EVENTS, field_selector=f"involvedObject.uid={before.uid}")).items
    assert (stored["count"], stored["type"], stored["message"]) == (4, "Warning", "cannot pull")
    assert sorted(results + more) == ["repeated"] * 3 + ["written"]
    assert "(x4 over " in kubectl("-n", place.client.namespace, "describe", "lmmevaluation", "a")


@pytest.mark.integration
async def test_an_account_without_the_right_slows_nothing(place: OperatorNamespace) -> None:
    bench = Answers(errors.Forbidden("events is forbidden"))
    client: Any = bench
    await place.submit("a")
    async with telling(place, client) as (operator, results):
        await work_until(operator, is_at(place, "a", "Starting"))
        await settled(results, 1)
    assert set(results) == {"dropped"}
