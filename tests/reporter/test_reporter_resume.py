"""A whole session, in this process: answers go to the store while the run goes on, and to the next attempt."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from journal_files import (
    FolderStore,
    OneEvaluation,
    RecordedLog,
    list_segments,
    make_chunk,
    make_header,
    make_lines,
    make_prefix,
    make_run_input,
    read_journal,
    store_journal,
)
from reporter_process import RunDirectoryWriter, wait_for

from lmms_eval_core.journal import JournalName
from lmms_eval_core.kube.client import KubeClient
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome, ProgressReport, Timings, write_atomically
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.store.objects import StoredObject
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.publish import Completion
from lmms_eval_reporter.session import Session
from lmms_eval_reporter.settings import Settings


@dataclass
class Attempt:
    """One attempt: its run directory and its reporter, beside the store and the evaluation that all of them share."""

    files: RunDirectoryWriter
    store: FolderStore
    evaluation: OneEvaluation
    number: int
    log: RecordedLog = field(default_factory=RecordedLog)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def start(self, *, journal_seconds: float = 0.02, grace: float = 5, **run: Any) -> None:
        self.evaluation.object["status"] |= {"attempt": self.number, "phase": "Running"}
        settings = Settings(
            run=make_run_input(self.number, **run),
            store=StoreSettings(url="file:///unused"),
            directory=self.files.path,
            grace_seconds=grace,
            poll_seconds=0.01,
            progress_seconds=0.02,
            journal_seconds=journal_seconds,
        )
        client = cast(KubeClient, self.evaluation)
        session = Session(settings, store=self.store, client=client, stop=self.stop, log=self.log)
        self.task = asyncio.create_task(session.run())

    def append(self, content: bytes) -> None:
        folder = self.files.path / "journal"
        folder.mkdir(exist_ok=True)
        with (folder / str(self.name)).open("ab") as stream:
            stream.write(content)

    def write_progress(self, **fields: Any) -> None:
        report = ProgressReport.model_validate(
            {"stage": "Evaluating", "completed": 2, "total": 4, "stageStartedAt": 1, "updatedAt": 2} | fields
        )
        write_atomically(self.files.path / "progress.json", report.to_json())

    async def end(self) -> None:
        """SIGTERM, and the end that follows."""
        assert self.task is not None
        self.stop.set()
        await asyncio.wait_for(self.task, 20)

    async def wait_until(self, condition: Callable[[], Any]) -> None:
        async def met() -> bool:
            return bool(condition())

        await wait_for(met, 20)

    @property
    def name(self) -> JournalName:
        return JournalName(self.number, 0)

    @property
    def status(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.evaluation.object["status"])

    @property
    def progress(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.status.get("progress", {}))


Make = Callable[[int], Attempt]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes attempts of one evaluation."""
    store, evaluation = FolderStore(tmp_path / "store"), OneEvaluation()

    def make_attempt(number: int) -> Attempt:
        return Attempt(RunDirectoryWriter(tmp_path / f"run-{number}"), store, evaluation, number)

    return make_attempt


async def test_a_run_that_is_stopped_leaves_its_answers_to_the_next_one(make: Make) -> None:
    first = make(1)
    first.start(journal_seconds=3600)
    await first.files.wait_for_file("ready")
    first.append(make_lines(1, 3))
    first.write_progress()
    await first.end()
    assert first.status["error"]["class"] == "Interrupted"
    assert (first.progress["kept"], first.progress["text"]) == (3, "2/4 50%")

    second = make(2)
    second.start()
    await second.files.wait_for_file("ready")
    assert (second.files.path / "earlier" / str(first.name)).read_bytes() == make_lines(1, 3)
    await second.end()


async def test_what_is_kept_shows_while_the_run_goes_on(make: Make) -> None:
    one = make(1)
    one.start()
    await one.files.wait_for_file("ready")
    one.write_progress()
    await one.wait_until(lambda: one.progress)
    assert "kept" not in one.progress
    for number in (1, 2):
        one.append(make_chunk(number))
        await one.wait_until(lambda: one.progress.get("kept") == number)  # noqa: B023
    await one.end()


async def test_a_success_deletes_the_journals_of_all_attempts(make: Make) -> None:
    two = make(2)
    await store_journal(two.store, JournalName(1, 0), make_lines(1, 3))
    two.start()
    await two.files.wait_for_file("ready")
    two.append(make_lines(2, 3))
    await two.wait_until(lambda: any("a2/journal" in key for key in two.store.puts))
    two.write_progress()
    two.files.write_success()
    await two.files.wait_for_file("published")
    await two.end()
    assert await list_segments(two.store, 1) == await list_segments(two.store, 2) == []
    assert two.status["summary"] == "tiny_vqa 0.25" and "kept" not in two.progress
    assert await two.store.exists(make_prefix(2).file("complete.json"))


async def test_what_is_under_way_at_the_end_of_a_success_is_deleted_too(make: Make) -> None:
    one = make(1)
    one.store.away_at = "/journal"
    one.store.released.clear()
    one.start()
    await one.files.wait_for_file("ready")
    one.append(make_lines(1, 3))
    await one.wait_until(lambda: any("/journal" in key for key in one.store.puts))
    one.files.write_success()
    await one.files.wait_for_file("published")
    await asyncio.sleep(0.1)
    one.store.released.set()
    await asyncio.sleep(0.2)
    await one.end()
    assert await list_segments(one.store) == []


async def test_a_failure_keeps_what_was_answered(make: Make) -> None:
    one = make(1)
    one.start(journal_seconds=3600)
    await one.files.wait_for_file("ready")
    one.append(make_lines(1, 3))
    one.files.write_outcome("OutOfMemory", 70)
    await one.files.wait_for_file("published")
    await one.end()
    assert await read_journal(one.store, one.name) == make_lines(1, 3)
    assert one.progress["kept"] == 3


async def test_results_do_not_wait_for_the_journal_of_a_success(make: Make) -> None:
    one = make(1)
    one.start()
    await one.files.wait_for_file("ready")
    one.store.is_away, one.store.away_at = True, "/journal"
    one.append(make_lines(1, 3))
    await one.wait_until(lambda: one.log.errors("journal not stored"))
    one.files.write_success()
    await one.files.wait_for_file("published")
    await one.wait_until(lambda: one.log.errors("journals not deleted"))
    assert one.status["summary"] == "tiny_vqa 0.25"
    await one.end()


async def test_a_failure_is_reported_though_its_journal_cannot_be_stored(make: Make) -> None:
    one = make(1)
    one.start(grace=1)
    await one.files.wait_for_file("ready")
    one.store.is_away, one.store.away_at = True, "/journal"
    one.append(make_lines(1, 3))
    await one.end()
    assert one.status["error"]["class"] == "Interrupted"


async def test_a_store_that_is_away_at_the_end_gets_the_rest_when_it_is_back(make: Make) -> None:
    one = make(1)
    one.start()
    await one.files.wait_for_file("ready")
    one.append(make_lines(1, 1))
    one.write_progress()
    await one.wait_until(lambda: one.progress.get("kept") == 1)
    one.store.is_away = True
    one.append(make_chunk(1) + make_chunk(2))
    one.files.write_outcome("Interrupted", 75)
    await one.wait_until(lambda: one.log.errors("waiting"))
    assert not one.files.has_file("published")
    await one.wait_until(lambda: one.progress.get("text") == "waiting for object store")
    # The operator counts what is kept, whether this reporter lives to say more or not.
    assert one.progress["kept"] == 1
    one.store.is_away = False
    await one.files.wait_for_file("published")
    await one.end()
    assert await read_journal(one.store, one.name) == make_lines(1, 3)


async def test_the_evaluator_waits_until_the_earlier_answers_are_there(make: Make) -> None:
    two = make(2)
    await store_journal(two.store, JournalName(1, 0), make_lines(1, 3))
    two.store.is_away, two.store.away_at = True, "/journal"
    two.start()
    await two.wait_until(lambda: two.log.errors("waiting"))
    assert not two.files.has_file("ready")
    two.store.is_away = False
    await two.files.wait_for_file("ready")
    assert two.files.has_file(f"earlier/{JournalName(1, 0)}")
    await two.end()


@pytest.mark.parametrize(("resume", "started"), [("never", False), ("sameHardware", True)])
async def test_when_earlier_answers_are_not_fetched(make: Make, resume: str, started: bool) -> None:
    two = make(2)
    await store_journal(two.store, JournalName(1, 0), make_lines(1, 3))
    if started:
        (two.files.path / "ready").write_text("")
    two.start(resume=resume)
    await two.files.wait_for_file("ready")
    two.write_progress()
    await two.wait_until(lambda: two.progress)
    assert not two.files.has_file("earlier")
    await two.end()


async def test_an_earlier_success_is_published_and_its_journals_go(make: Make) -> None:
    two = make(2)
    await store_journal(two.store, JournalName(1, 0), make_lines(1, 3))
    uid = two.evaluation.object["metadata"]["uid"]
    complete = Completion(uid=uid, attempt=1, reason=Reason.SUCCEEDED, status={"summary": "mme 1"})
    await two.store.put(make_prefix(1).file("complete.json"), complete.to_json().encode())
    two.start()
    assert await two.files.wait_for_file("published") == "attempt 1 had finished"
    await two.end()
    assert await list_segments(two.store, 1) == [] and not two.files.has_file("earlier")
    assert two.status["summary"] == "mme 1"


async def test_an_attempt_that_is_superseded_stores_no_more(make: Make) -> None:
    one = make(1)
    one.start()
    await one.files.wait_for_file("ready")
    one.append(make_header())
    await one.wait_until(lambda: any("/journal/" in key for key in one.store.puts))
    one.evaluation.object["status"]["attempt"] = 2
    one.write_progress()
    await one.wait_until(lambda: one.log.errors("progress not written"))
    one.append(make_chunk(1))
    await asyncio.sleep(0.2)
    await one.end()
    assert await read_journal(one.store, one.name) == make_header()


async def test_the_status_says_what_was_resumed_to_the_end(make: Make) -> None:
    two = make(2)
    two.start()
    await two.files.wait_for_file("ready")
    two.write_progress(resumed={"answers": 2, "fromAttempt": 1, "exactness": "exact"})
    resumed = {"answers": 2, "fromAttempt": 1, "exactness": "exact"}
    await two.wait_until(lambda: two.progress.get("resumed") == resumed)
    two.files.write_success()
    await two.files.wait_for_file("published")
    assert two.progress["resumed"] == resumed and two.progress["percent"] == 100
    await two.end()


async def test_a_run_that_started_anew_says_why_in_few_words(make: Make) -> None:
    two = make(2)
    two.start()
    await two.files.wait_for_file("ready")
    reason = "weights differ from attempt 1 \x1b[31mhf_abcdefghijklmnopqrstuvwxyz" + "<" * 5000
    two.write_progress(startedAnew=reason, journalOff=reason)
    await two.end()
    for told in (two.progress["startedAnew"], two.progress["notKept"]):
        assert told.startswith("weights differ from attempt 1 [REDACTED]") and len(json.dumps(told)) < 600


async def test_answers_that_may_not_be_listed_are_no_silent_loss(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(store: FolderStore, prefix: str) -> AsyncIterator[StoredObject]:
        raise StoreError("no s3:ListBucket")
        yield

    monkeypatch.setattr(FolderStore, "list", refuse)
    two = make(2)
    two.start()
    await two.files.wait_for_file("ready")
    two.write_progress()
    why = "answers of attempt 1 cannot be listed: no s3:ListBucket"
    await two.wait_until(lambda: two.progress.get("startedAnew") == why)
    await two.end()


async def test_why_the_reporter_stores_no_more_is_said(make: Make) -> None:
    one = make(1)
    one.start()
    await one.files.wait_for_file("ready")
    one.append(make_lines(1, 2) + b"no line of the runner\n")
    one.write_progress()
    await one.wait_until(lambda: one.progress.get("notKept") == "a line is not the runner's")
    await one.wait_until(lambda: one.progress.get("kept") == 2)
    await one.end()
    assert one.progress["notKept"] == "a line is not the runner's"


async def test_usage_is_of_all_attempts(make: Make) -> None:
    two = make(2)
    outcome = Outcome(reason=Reason.INTERRUPTED, exit_code=75, timings=Timings(load_seconds=1, total_seconds=10))
    await two.store.put(make_prefix(1).file("outcome.json"), outcome.to_json().encode())
    two.start()
    await two.files.wait_for_file("ready")
    two.files.write_success(timings={"loadSeconds": 2, "totalSeconds": 5}, answers={"samples": 2})
    await two.files.wait_for_file("published")
    usage = two.status["usage"]
    assert (usage["loadSeconds"], usage["totalSeconds"], usage["gpuSeconds"], usage["samples"]) == (3, 15, 30, 2)
    stored = Outcome.model_validate_json(await two.store.get(make_prefix(2).file("outcome.json"), max_bytes=10**5))
    # What a third attempt would add: its own alone.
    assert stored.timings.total_seconds == 5
    await two.end()


async def test_without_samples_a_failure_keeps_no_prompts(make: Make) -> None:
    one = make(1)
    one.start(log_samples=False)
    await one.files.wait_for_file("ready")
    one.append(make_chunk(0, p="the question", g="the solution"))
    await one.end()
    assert await read_journal(one.store, one.name) == make_chunk(0)
