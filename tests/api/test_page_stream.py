"""GET /events without HTTP: what a page is told, what it missed while it was away, and what a slow one skips."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from evaluation_objects import build_evaluation_object
from offline_application import NO_CLIENT

from lmms_eval_api.jobs import change_journal, page_stream
from lmms_eval_api.jobs import feeds as job_feeds
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.change_journal import ChangeJournal
from lmms_eval_api.jobs.feeds import KEEP_ALIVE, JobFeeds
from lmms_eval_api.jobs.page_stream import PageReader, PageStreams
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.reflector import Reflector

Event = tuple[str, Any, str | None]
Stream = AsyncGenerator[bytes, None]


class Watched:
    """A cache that a watch fills, event by event."""

    def __init__(self) -> None:
        self.cache = JobCache()
        self.reflector: Reflector[JobSnapshot] = Reflector(NO_CLIENT, EVALUATIONS, self.cache, self.cache.project)
        self.feeds = JobFeeds(self.cache)
        self.streams = PageStreams(self.cache, self.reflector, self.feeds)

    def list(self, *objects: Any, version: int) -> None:
        self.cache.replace([self.cache.project(item) for item in objects])
        self.reflector._listed_version = version
        self.reflector._record_version(str(version))

    def see(self, name: str, version: int, kind: str = "MODIFIED", **fields: Any) -> None:
        self.reflector._update_mirror(kind, build_evaluation_object(name, version=version, **fields))
        self.reflector._record_version(str(version))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_feeds, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(page_stream, "PACE_SECONDS", 0.001)


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    found = Watched()
    running = asyncio.create_task(found.feeds.run())
    yield found
    running.cancel()


async def read(stream: Stream) -> Event:
    while (piece := await asyncio.wait_for(anext(stream), 20)) == KEEP_ALIVE:
        pass
    fields = dict(line.split(": ", 1) for line in piece.decode().strip().splitlines())
    return fields["event"], json.loads(fields["data"]), fields.get("id")


async def test_it_tells_each_change_of_any_job_and_of_the_queue(watched: Watched) -> None:
    watched.list(build_evaluation_object("a", version=1), version=5)
    stream = watched.streams.stream(PageReader())
    assert await read(stream) == ("ready", {"revision": 5, "resumed": False}, "5")
    queue = {"queue_size": 1, "queued_jobs": [{"job_id": "a", "position": 0}]}
    assert await read(stream) == ("queue", queue, "5")
    watched.see("a", 6, phase="Running")
    event, job, _ = await read(stream)
    assert (event, job["job_id"], job["status"], job["position_in_queue"]) == ("job", "a", "running", None)
    assert await read(stream) == ("queue", {"queue_size": 0, "queued_jobs": []}, "6")
    watched.see("a", 7, "DELETED")
    assert await read(stream) == ("removed", {"job_id": "a"}, "7")


async def test_a_job_is_told_as_a_list_shows_it(watched: Watched) -> None:
    watched.list(version=1)
    stream = watched.streams.stream(PageReader(queue=False))
    await read(stream)
    for version in (2, 3, 4):
        watched.see("a", version, priority=version)
    event, job, id_ = await read(stream)
    assert (event, job["priority"], id_) == ("job", 4, "4")
    assert job["model"] == "llava_hf" and "progress" in job and "request" not in job


async def test_a_reader_gets_only_the_jobs_it_asked_for(watched: Watched) -> None:
    watched.list(version=1)
    stream = watched.streams.stream(PageReader(frozenset({"b"}), queue=False))
    await read(stream)
    watched.see("a", 2)
    watched.see("b", 3)
    watched.see("c", 4)
    event, job, id_ = await read(stream)
    assert (event, job["job_id"], id_) == ("job", "b", "4")


async def test_who_comes_back_gets_what_was_missed(watched: Watched) -> None:
    watched.list(build_evaluation_object("gone", version=1), version=2)
    for name, version in (("a", 3), ("b", 4), ("a", 5)):
        watched.see(name, version)
    watched.see("gone", 6, "DELETED")
    stream = watched.streams.stream(PageReader(queue=False, last_version=4))
    assert await read(stream) == ("ready", {"revision": 6, "resumed": True}, "6")
    told = [await read(stream), await read(stream)]
    assert [(event, data["job_id"]) for event, data, _ in told] == [("job", "a"), ("removed", "gone")]
    assert [id_ for *_, id_ in told] == [None, "6"]


@pytest.mark.parametrize("last_version", [None, 4, 99])
async def test_who_missed_what_nobody_knows_is_told_to_load_again(watched: Watched, last_version: int | None) -> None:
    watched.list(build_evaluation_object("a", version=3), version=5)
    stream = watched.streams.stream(PageReader(queue=False, last_version=last_version))
    assert await read(stream) == ("ready", {"revision": 5, "resumed": False}, "5")
    watched.see("b", 6)
    assert (await read(stream))[1]["job_id"] == "b"


async def test_a_new_list_tells_what_is_gone(watched: Watched) -> None:
    watched.list(build_evaluation_object("a", version=1), build_evaluation_object("b", version=2), version=2)
    stream = watched.streams.stream(PageReader(queue=False))
    await read(stream)
    watched.list(build_evaluation_object("b", version=2), build_evaluation_object("c", version=7), version=9)
    told = [await read(stream), await read(stream)]
    assert {(event, data["job_id"]) for event, data, _ in told} == {("removed", "a"), ("job", "c")}


async def test_what_was_learnt_from_a_write_is_told_again_after_a_break(watched: Watched) -> None:
    """The answer to a write may come before the watch has shown an older change of another job."""
    watched.list(version=1)
    stream = watched.streams.stream(PageReader(queue=False))
    await read(stream)
    watched.cache.learn(build_evaluation_object("own", version=9))
    assert (await read(stream))[2] == "1"
    watched.see("other", 8)
    resumed = watched.streams.stream(PageReader(queue=False, last_version=1))
    await read(resumed)
    assert {(await read(resumed))[1]["job_id"], (await read(resumed))[1]["job_id"]} == {"own", "other"}


async def test_a_slow_reader_is_told_to_load_again_rather_than_misled(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_journal, "MAX_REMOVED", 2)
    watched.list(*(build_evaluation_object(name, version=1) for name in "abcd"), version=1)
    stream = watched.streams.stream(PageReader(queue=False))
    await read(stream)
    for version, name in enumerate("abcd", 2):
        watched.see(name, version, "DELETED")
    assert (await read(stream))[:2] == ("ready", {"revision": 5, "resumed": False})
    again = watched.streams.stream(PageReader(queue=False, last_version=2))
    assert (await read(again))[1]["resumed"] is False


async def test_a_long_queue_is_told_up_to_a_bound(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_stream, "MAX_QUEUED", 3)
    watched.list(*(build_evaluation_object(f"job-{number}", version=number) for number in range(1, 6)), version=9)
    stream = watched.streams.stream(PageReader())
    await read(stream)
    _, queue, _ = await read(stream)
    assert (queue["queue_size"], len(queue["queued_jobs"])) == (5, 3)


async def test_quiet_streams_stay_open_and_end_with_the_server(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_stream, "KEEP_ALIVE_SECONDS", 0.01)
    watched.list(version=1)
    stream = watched.streams.stream(PageReader(queue=False))
    await read(stream)
    assert await anext(stream) == KEEP_ALIVE
    watched.feeds.close()
    assert [piece async for piece in stream if piece != KEEP_ALIVE] == []


def test_a_journal_holds_each_job_once() -> None:
    journal = ChangeJournal()
    for name in "abab":
        journal.record_change(name)
    journal.record_removal("a", version=7)
    assert journal.list_since(0) == ["b", "a"]
    assert journal.list_since(journal.number - 1) == ["a"]
    assert journal.list_since(journal.number) == []
    assert (journal.list_removed_since_version(6), journal.list_removed_since_version(7)) == (["a"], [])
    journal.record_change("a")
    assert journal.list_removed_since_version(0) == []
