"""The fan-out of events, without HTTP: what a stream is told, when it ends, and what a slow reader misses."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from evaluation_objects import build_evaluation_object

from lmms_eval_api.jobs import feeds as job_feeds
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.feeds import END, KEEP_ALIVE, EventViewer, JobFeeds, stream_events
from lmms_eval_api.jobs.snapshot import JobSnapshot

SERVED = job_feeds.PACE_SECONDS


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_SECONDS", "PACE_SECONDS"):
        monkeypatch.setattr(job_feeds, name, 0.001)


@pytest.fixture
def cache() -> JobCache:
    return JobCache()


@pytest.fixture
async def feeds(cache: JobCache) -> AsyncIterator[JobFeeds]:
    feeds = JobFeeds(cache)
    running = asyncio.create_task(feeds.run())
    yield feeds
    running.cancel()


def rendered(job: JobSnapshot, position: int | None) -> str:
    return json.dumps([job.status, position])


async def truly_gone(job: JobSnapshot) -> bool:
    return True


def stream(feeds: JobFeeds, job: JobSnapshot, last_id: str | None = None) -> AsyncGenerator[bytes, None]:
    return stream_events(feeds, job, EventViewer(last_id, rendered, None), is_gone=truly_gone)


def told(event: bytes) -> tuple[str, object]:
    """The id and the data of an event."""
    fields = dict(line.split(": ", 1) for line in event.decode().strip().splitlines())
    assert fields["event"] == "state"
    return fields["id"], json.loads(fields["data"])


async def test_it_begins_with_the_state_and_tells_each_change_until_the_end(cache: JobCache, feeds: JobFeeds) -> None:
    cache.learn(build_evaluation_object("before"))
    following = stream(feeds, cache.learn(build_evaluation_object("watched", created_at="2026-01-02T00:00:00Z")))
    assert told(await anext(following))[1] == ["queued", 1]
    cache.learn(build_evaluation_object("before", phase="Running"))
    assert told(await anext(following))[1] == ["queued", 0]
    cache.learn(build_evaluation_object("watched", phase="Running"))
    assert told(await anext(following))[1] == ["running", None]
    cache.learn(build_evaluation_object("watched", phase="Completed"))
    assert told(await anext(following))[1] == ["completed", None]
    assert await anext(following) == END
    with pytest.raises(StopAsyncIteration):
        await anext(following)


async def test_who_has_the_newest_state_is_not_told_it_again(cache: JobCache, feeds: JobFeeds) -> None:
    job = cache.learn(build_evaluation_object("watched"))
    newest, _ = told(await anext(stream(feeds, job)))
    following = asyncio.ensure_future(anext(stream(feeds, job, newest)))
    await asyncio.sleep(0.02)
    assert not following.done()
    cache.learn(build_evaluation_object("watched", phase="Running"))
    assert told(await following)[1] == ["running", None]


async def test_an_ended_job_that_was_seen_ends_at_once(cache: JobCache, feeds: JobFeeds) -> None:
    job = cache.learn(build_evaluation_object("watched", phase="Failed"))
    last, _ = told(await anext(stream(feeds, job)))
    assert [event async for event in stream(feeds, job, last)] == [END]


async def test_a_slow_reader_misses_what_is_past(cache: JobCache, feeds: JobFeeds) -> None:
    following = stream(feeds, cache.learn(build_evaluation_object("watched")))
    await anext(following)
    for priority in range(100):
        cache.learn(build_evaluation_object("watched", priority=priority))
        await asyncio.sleep(0.0001)
    cache.learn(build_evaluation_object("watched", phase="Completed"))
    rest = [event async for event in following]
    assert (told(rest[-2])[1], rest[-1], len(rest) < 4) == (["completed", None], END, True)


async def test_nobody_is_told_more_than_twice_a_second(
    cache: JobCache,
    feeds: JobFeeds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newest state comes at once after a pause, and is the last one in the end."""
    monkeypatch.setattr(job_feeds, "PACE_SECONDS", SERVED)
    following = stream(feeds, cache.learn(build_evaluation_object("watched")))
    moments: list[float] = []

    async def watch() -> None:
        async for _ in following:
            moments.append(asyncio.get_running_loop().time())

    watching = asyncio.create_task(watch())
    for priority in range(60):
        cache.learn(build_evaluation_object("watched", priority=priority))
        await asyncio.sleep(0.025)
    cache.learn(build_evaluation_object("watched", phase="Completed"))
    await watching
    # The end follows the last state at once.
    *states, _ = moments
    pauses = [after - before for before, after in itertools.pairwise(states)]
    # A clock of the loop is as fine as its timers.
    assert len(pauses) >= 3 and min(pauses) >= 0.499, pauses


async def test_silence_is_kept_alive(cache: JobCache, feeds: JobFeeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_feeds, "KEEP_ALIVE_SECONDS", 0.01)
    following = stream(feeds, cache.learn(build_evaluation_object("watched")))
    await anext(following)
    assert [await anext(following), await anext(following)] == [KEEP_ALIVE, KEEP_ALIVE]


async def test_a_deleted_job_ends_its_streams(cache: JobCache, feeds: JobFeeds) -> None:
    following = stream(feeds, cache.learn(build_evaluation_object("watched")))
    await anext(following)
    cache.remove(cache.project(build_evaluation_object("watched")))
    assert [event async for event in following] == [END]


async def test_another_job_of_the_name_is_another_job(cache: JobCache, feeds: JobFeeds) -> None:
    following = stream(feeds, cache.learn(build_evaluation_object("watched", uid="old")))
    await anext(following)
    cache.remove(cache.project(build_evaluation_object("watched", uid="old")))
    cache.learn(build_evaluation_object("watched", uid="new"))
    assert [event async for event in following] == [END]


async def test_what_the_cache_loses_for_a_moment_is_not_gone(cache: JobCache, feeds: JobFeeds) -> None:
    async def read_again(job: JobSnapshot) -> bool:
        cache.learn(build_evaluation_object("watched", phase="Running"))
        return False

    job = cache.learn(build_evaluation_object("watched"))
    following = stream_events(feeds, job, EventViewer(None, rendered, None), is_gone=read_again)
    await anext(following)
    cache.replace([])
    assert told(await anext(following))[1] == ["running", None]


async def test_all_of_them_end_with_the_server(cache: JobCache, feeds: JobFeeds) -> None:
    job = cache.learn(build_evaluation_object("watched"))
    following = [stream(feeds, job) for _ in range(3)]
    await asyncio.gather(*map(anext, following))
    waiting = asyncio.gather(*(anext(each, None) for each in following))
    await asyncio.sleep(0.01)
    feeds.close()
    # Without an end: the client comes back, to another replica.
    assert await waiting == [None] * 3


async def test_nothing_is_kept_of_a_stream_that_was_left(cache: JobCache, feeds: JobFeeds) -> None:
    job = cache.learn(build_evaluation_object("watched"))
    one, two = stream(feeds, job), stream(feeds, job)
    await asyncio.gather(anext(one), anext(two))
    for following in (one, two):
        await following.aclose()
    assert not feeds._feeds


async def test_a_text_is_made_once_for_all_who_see_the_same(cache: JobCache, feeds: JobFeeds) -> None:
    made: list[JobSnapshot] = []

    def counted(job: JobSnapshot, position: int | None) -> str:
        made.append(job)
        return rendered(job, position)

    job = cache.learn(build_evaluation_object("watched"))
    viewers = [EventViewer(None, counted, base) for base in ("http://a", "http://a", "http://b")]
    following = [stream_events(feeds, job, viewer, is_gone=truly_gone) for viewer in viewers]
    await asyncio.gather(*map(anext, following))
    assert len(made) == 2
