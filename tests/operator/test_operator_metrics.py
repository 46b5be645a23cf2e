"""What each metric counts, that labels are bounded, and what a scrape of a real operator holds after a
few evaluations.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deployment import ROOT
from operator_builders import queued, running, slot, world
from operator_namespace import OperatorNamespace
from operator_process import build_phase_check, complete_evaluation, has_logged, run_operator, wait_until
from prometheus_client.parser import text_string_to_metric_families
from promtool import run_promtool

from lmms_eval_core.failures import ENDINGS
from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import EVALUATIONS, LEASES, Resource
from lmms_eval_core.phases import TERMINAL, Phase, Reason
from lmms_eval_operator.metered_client import MeteredClient
from lmms_eval_operator.metrics import PLACES, OperatorMetrics, find_outcome
from lmms_eval_operator.view import View

# The front end has metrics of its own, in the same table.
FRONT_END = "lmmseval_api_"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """What Prometheus would keep of a text."""

    def __init__(self, text: str) -> None:
        self._samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self._samples[name, frozenset(labels.items())]

    def series(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for known, labels in self._samples if known == name]


def metrics(view: View | None = None, *, leading: bool = True, seconds: float = 0) -> OperatorMetrics:
    return OperatorMetrics(view or world(), leading=lambda: leading, time=lambda: CREATED + timedelta(seconds=seconds))


def scrape(of: OperatorMetrics) -> Scrape:
    return Scrape(of.render().decode())


# The queue and the slots.


def test_every_reason_is_that_of_a_place_or_of_an_ending() -> None:
    assert {reason for _, reason in PLACES} | {ending.reason for ending in ENDINGS} == set(Reason)
    assert {reason for _, reason in PLACES} & {ending.reason for ending in ENDINGS} == {Reason.STALLED}


def test_evaluations_are_counted_where_they_are() -> None:
    held = queued("h", reason="OnHold", hold=True)
    seen = scrape(metrics(world(queued("a"), queued("b"), held, running("c", reason="ImagePullError"))))
    assert seen("lmmseval_evaluations", phase="Queued", reason="WaitingForTurn") == 2
    assert seen("lmmseval_evaluations", phase="Queued", reason="OnHold") == 1
    assert seen("lmmseval_evaluations", phase="Running", reason="ImagePullError") == 1
    assert seen("lmmseval_evaluations", phase="Running", reason="Evaluating") == 0


def test_slots_are_free_or_held() -> None:
    seen = scrape(metrics(world(slot(0), slot(1, running("a")), slot(2, content="somebody's edit"))))
    assert seen("lmmseval_slots", state="free") == 1
    assert seen("lmmseval_slots", state="held") == 2


def test_a_standby_tells_of_no_queue() -> None:
    seen = scrape(metrics(world(queued("a")), leading=False))
    assert seen("lmmseval_leader") == 0
    assert seen.series("lmmseval_evaluations") == seen.series("lmmseval_slots") == []


def test_a_scrape_of_ten_thousand_is_cheap() -> None:
    of = metrics(world(*(queued(f"e{number}") for number in range(10_000))))
    seconds = []
    for _ in range(5):
        # Of the processor, which may have other work meanwhile.
        began = time.thread_time()
        of.render()
        seconds.append(time.thread_time() - began)
    # Some milliseconds; the limit is for a slow machine.
    assert min(seconds) < 0.1


# Moves.


def test_the_first_start_ends_the_wait_and_the_second_does_not() -> None:
    of = metrics(seconds=100)
    of.record_move(queued(), running())
    of.record_move(queued(attempt=1, reason="Retrying"), running(attempt=2))
    seen = scrape(of)
    assert seen("lmmseval_attempts_total") == 2
    assert seen("lmmseval_queue_wait_seconds_count") == 1
    assert seen("lmmseval_queue_wait_seconds_sum") == 100


def test_a_retry_is_counted_by_what_ended_the_attempt() -> None:
    of = metrics()
    ended = {**running().attempts[0], "reason": "NodeLost"}
    of.record_move(running(), queued(attempt=1, reason="Retrying", attempts=(ended,)))
    assert scrape(of)("lmmseval_retries_total", reason="NodeLost") == 1


def test_an_end_is_counted_by_outcome_and_reason_and_timed_from_the_first_start() -> None:
    of = metrics(seconds=660)
    before = running(attempt=2)
    of.record_move(before, replace(before, phase=Phase.FAILED, reason="GPUError"))
    of.record_move(queued(), queued(phase=Phase.CANCELLED, reason="CancelledByUser"))
    seen = scrape(of)
    assert seen("lmmseval_finished_total", outcome="Failed", reason="GPUError") == 1
    assert seen("lmmseval_finished_total", outcome="Cancelled", reason="CancelledByUser") == 1
    assert seen("lmmseval_run_seconds_sum", outcome="Failed") == 600
    assert seen("lmmseval_run_seconds_count", outcome="Cancelled") == 0


def test_a_report_counts_as_no_attempt() -> None:
    of = metrics(seconds=5)
    of.record_move(running(), running(reason="Evaluating"))
    assert scrape(of)("lmmseval_attempts_total") == 0
    assert scrape(of)("lmmseval_last_move_timestamp_seconds") == CREATED.timestamp() + 5


def test_every_ending_is_there_before_it_happens() -> None:
    seen = scrape(metrics())
    assert {(item["outcome"], item["reason"]) for item in seen.series("lmmseval_finished_total")} == {
        (find_outcome(ending.reason), ending.reason.value) for ending in ENDINGS
    }
    assert {item["reason"] for item in seen.series("lmmseval_retries_total")} == {
        ending.reason.value for ending in ENDINGS if ending.retry
    }


def test_the_outcome_is_the_phase_that_the_table_of_endings_leads_to() -> None:
    assert {find_outcome(ending.reason) for ending in ENDINGS} == {phase.value for phase in TERMINAL}


def test_what_no_table_knows_is_one_series() -> None:
    of = metrics()
    of.record_move(running(), running(phase=Phase.FAILED, reason="Sabotage"))
    of.record_move(running(), queued(attempt=1, reason="Retrying", attempts=({"number": 1, "reason": "Sabotage"},)))
    of.record_move(running(), queued(attempt=1, reason="Retrying", attempts=()))
    seen = scrape(of)
    assert seen("lmmseval_finished_total", outcome="Failed", reason="Unknown") == 1
    assert seen("lmmseval_retries_total", reason="Unknown") == 2


def test_series_are_bounded_whatever_happens() -> None:
    of = metrics()
    before = scrape(of)._samples.keys()
    for number, (place, at) in enumerate(itertools.product(PLACES, ENDINGS)):
        name = f"evaluation-{number}"
        of.record_move(
            running(name, reason=place[1]), running(name, phase=Phase(find_outcome(at.reason)), reason=at.reason.value)
        )
    assert scrape(of)._samples.keys() == before


# The process.


def test_passes_and_watches_are_noted() -> None:
    of = metrics(seconds=7)
    of.record_pass(0.02, True)
    of.record_pass(3.0, False)
    of.record_watch_event()
    of.record_event("dropped")
    seen = scrape(of)
    assert seen("lmmseval_reconcile_seconds_count", result="ok") == 1
    assert seen("lmmseval_reconcile_seconds_sum", result="error") == 3
    assert seen("lmmseval_watch_last_event_timestamp_seconds") == CREATED.timestamp() + 7
    assert seen("lmmseval_events_total", result="dropped") == 1
    assert seen.series("lmmseval_build_info")[0].keys() == {"version"}


class Server:
    """Answers or fails."""

    namespace = "team-a"

    async def json_patch(self, resource: Resource, name: str, patch: Any, *, subresource: str = "") -> dict[str, Any]:
        if name == "gone":
            raise errors.NotFound("gone")
        return {"name": name, "subresource": subresource}

    async def get(self, resource: Resource, name: str) -> dict[str, Any]:
        raise errors.Unavailable("away")


async def test_requests_are_timed_and_writes_counted_by_what_came_of_them() -> None:
    of = metrics()
    server: Any = Server()
    client = MeteredClient(server, of.record_request, itertools.count(0, 2).__next__)
    assert client.namespace == "team-a"
    assert await client.json_patch(EVALUATIONS, "a", [], subresource="status") == {"name": "a", "subresource": "status"}
    with pytest.raises(errors.NotFound):
        await client.json_patch(LEASES, "gone", [])
    with pytest.raises(errors.Unavailable):
        await client.get(EVALUATIONS, "a")
    seen = scrape(of)
    assert seen("lmmseval_writes_total", resource="lmmevaluations", verb="patch", result="ok") == 1
    assert seen("lmmseval_writes_total", resource="leases", verb="patch", result="notfound") == 1
    assert seen("lmmseval_request_seconds_sum", verb="get", result="unavailable") == 2
    assert "get" not in {item["verb"] for item in seen.series("lmmseval_writes_total")}


# What the page for operators says, and what a linter made for it says.


def documented() -> Iterator[tuple[str, str]]:
    """(name, labels) of the table in docs/operations.md."""
    for line in (ROOT / "docs" / "operations.md").read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if line.startswith("| `lmmseval_"):
            name, _, labels = cells[0].partition("{")
            yield name, labels.rstrip("}")


def test_the_page_for_operators_lists_every_metric_with_its_labels() -> None:
    of = metrics()
    of.record_pass(1, True)
    of.record_request(EVALUATIONS, "patch", result="ok", seconds=1)
    of.record_event("written")
    of.record_failure("Claim", "refused")
    families = [family for family in of.registry.collect() if family.name.startswith("lmmseval_")]
    there = {
        family.name + ("_total" if family.type == "counter" else ""): ", ".join(
            sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        )
        for family in families
    }
    told = {
        name: ", ".join(sorted(labels.split(", "))) for name, labels in documented() if not name.startswith(FRONT_END)
    }
    assert told == there


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_a_scrape_of_a_real_operator_tells_what_happened(
    place: OperatorNamespace, kubeconfig: str, tmp_path: Path
) -> None:
    async with run_operator(place, kubeconfig, tmp_path) as process:
        await place.submit("a")
        await complete_evaluation(place, "a")
        await place.submit("b")
        await wait_until(build_phase_check(place, "b", "Running"))
        await place.end_pod_of("b", 65)
        await wait_until(build_phase_check(place, "b", "Failed"))
        await place.submit("h", hold=True)
        await place.submit("c")
        await wait_until(build_phase_check(place, "c", "Running"))

        async def all_told() -> bool:
            seen = Scrape((await process.get("metrics"))[1])
            return (
                seen("lmmseval_evaluations", phase="Queued", reason="OnHold") == 1
                and seen("lmmseval_evaluations", phase="Running", reason="Starting") == 1
                and seen("lmmseval_attempts_total") == 3
                and seen("lmmseval_slots", state="held") == 1
                and bool(seen("lmmseval_events_total", result="written") >= 6)
            )

        await wait_until(all_told)
        status, text = await process.get("metrics")
        story = [
            (entry["evaluation"], entry["before"], entry["reason"])
            for entry in process.read_events()
            if entry["event"] == "moved"
        ]
    seen = Scrape(text)
    assert status == 200
    assert seen("lmmseval_leader") == 1
    assert seen("lmmseval_finished_total", outcome="Completed", reason="Succeeded") == 1
    assert seen("lmmseval_finished_total", outcome="Failed", reason="TaskNotFound") == 1
    assert seen("lmmseval_attempts_total") == 3
    assert seen("lmmseval_evaluations", phase="Running", reason="Starting") == 1
    assert seen("lmmseval_slots", state="held") == 1
    assert seen("lmmseval_slots", state="free") == 0
    assert seen("lmmseval_run_seconds_count", outcome="Completed") == 1
    assert seen("lmmseval_writes_total", resource="jobs", verb="create", result="ok") == 3
    assert seen("lmmseval_reconcile_seconds_count", result="ok") >= 3
    assert abs(seen("lmmseval_watch_last_event_timestamp_seconds") - time.time()) < 60
    assert seen("process_resident_memory_bytes") > 1e7
    assert ("b", "WaitingForTurn", "Starting") in story
    assert ("b", "Starting", "TaskNotFound") in story
    assert await asyncio.to_thread(run_promtool, "check", "metrics", stdin=text) == ""


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_of_two_operators_the_leader_alone_tells_of_the_queue(
    place: OperatorNamespace, kubeconfig: str, tmp_path: Path
) -> None:
    await place.submit("h", hold=True)
    async with run_operator(place, kubeconfig, tmp_path) as one, run_operator(place, kubeconfig, tmp_path) as other:
        for process in (one, other):
            await wait_until(partial(has_logged, process, "serving"))
        told: list[Scrape] = []

        async def both_are_ready_and_one_tells() -> bool:
            told[:] = [Scrape((await process.get("metrics"))[1]) for process in (one, other)]
            ready = [await process.probe("readyz") for process in (one, other)] == [200, 200]
            leaders = [seen for seen in told if seen("lmmseval_leader")]
            return ready and [seen("lmmseval_evaluations", phase="Queued", reason="OnHold") for seen in leaders] == [1]

        await wait_until(both_are_ready_and_one_tells)
        (standby,) = [seen for seen in told if not seen("lmmseval_leader")]
        assert standby.series("lmmseval_evaluations") == standby.series("lmmseval_slots") == []
        assert standby("lmmseval_last_move_timestamp_seconds") == 0
