"""Answers over HTTP, while a job runs and after it was cancelled or has failed; and the streams that follow them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import httpx
import pytest
from evaluation_objects import build_evaluation_object
from journal_segments import build_chunk, build_header, name_segment, pack_segment
from memory_store import MemoryStore
from s3_fixtures import S3Server

from lmms_eval_api.artifacts.answer_stream import AnswerFollower
from lmms_eval_api.artifacts.answers import AnswerReader
from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.store import ArtifactStore
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.auth import AnonymousAccess, Authenticator, Caller
from lmms_eval_api.auth.attributes import ResourceAttributes, is_stream
from lmms_eval_api.auth.authenticator import TokenSource
from lmms_eval_api.jobs import feeds as job_feeds
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import END, KEEP_ALIVE, JobFeeds
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.routes.answers import find_answers
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

NO_CLIENT = cast(KubeClient, None)
PREFIX = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 2)
FIRST = PREFIX._replace(attempt=1)
LINES = {"Accept": "application/x-ndjson"}
# It keeps nothing from one call to the next, and takes a sixth of a second to start.
WORKER = Worker()


def build_job(phase: str, *, kept: int = 6, files: list[str] | None = None, attempt: int = 2, **spec: Any) -> Object:
    status: dict[str, Any] = {"reason": "OutOfMemory", "attempt": attempt, "progress": {"kept": kept}}
    if files is not None:
        listed = [{"name": name, "bytes": 1} for name in files]
        status["artifacts"] = {"uri": f"s3://artifacts/{PREFIX.path}", "files": listed}
    return build_evaluation_object("a", uid=PREFIX.uid, phase=phase, status=status, **spec)


class Place:
    """A front end with a store in memory, and the job `a` with two attempts."""

    def __init__(
        self, *, store: ArtifactStore | None = None, authenticator: Authenticator | None = None, **settings: Any
    ) -> None:
        self.store, self.cache = MemoryStore(), JobCache()
        chosen = ApiSettings(auth=AuthMode.NONE, hosts=("front-end",), **settings)
        reflector = Reflector(NO_CLIENT, EVALUATIONS, self.cache, self.cache.project)
        reflector.synced.set()
        reflector._watching = True
        self.archive = Archive(NO_CLIENT, store or self.store, chosen, WORKER)
        self.feeds = JobFeeds(self.cache)
        backend = Backend(EvaluationService(NO_CLIENT, self.cache), reflector, self.feeds, self.archive, 60)
        transport = httpx.ASGITransport(make_application(chosen, backend, authenticator or AnonymousAccess()))
        self.session = httpx.AsyncClient(transport=transport, base_url="http://front-end")
        self.write(FIRST, build_chunk(range(2)))
        self.write(PREFIX, build_chunk(range(2, 6), batch=4), build_chunk([0], task="other"))

    def write(self, prefix: ArtifactPrefix, *lines: bytes) -> None:
        self.store.objects[name_segment(prefix)] = pack_segment([build_header(prefix.attempt), *lines])

    def learn(self, phase: str, **job: Any) -> JobSnapshot:
        return self.cache.learn(build_job(phase, **{"tasks": ["mme", "other"], **job}))

    async def get(self, query: str = "", task: str = "mme", **headers: str) -> httpx.Response:
        return await self.session.get(f"/jobs/a/samples/{task}{query}", headers=headers)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    made = Place()
    async with made.session:
        yield made


def documents(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["document"] for item in answer.json()["samples"]]


async def test_a_running_job_shows_its_answers_so_far(place: Place) -> None:
    place.learn("Running")
    page = await place.get("?live=true&limit=4")
    assert documents(page) == [0, 1, 2, 3]
    assert page.json()["partial"] is True and {item["scored"] for item in page.json()["samples"]} == {False}
    rest = await place.get(f"?live=true&cursor={page.json()['next_cursor']}")
    assert (documents(rest), rest.json()["next_cursor"]) == ([4, 5], None)
    here = rest.json()["end_cursor"]
    nothing = await place.get(f"?live=true&cursor={here}")
    assert (documents(nothing), nothing.json()["end_cursor"]) == ([], here)
    place.write(PREFIX, build_chunk(range(2, 6), batch=4), build_chunk([0], task="other"), build_chunk([6]))
    assert documents(await place.get(f"?live=true&cursor={here}")) == [6]
    assert documents(await place.get("?live=true", task="other")) == [0]
    assert documents(await place.get("?live=true", task="later")) == []
    assert documents(await place.get("?live=true&filter=empty")) == []
    whole = await place.get("?live=true", **LINES)
    assert [json.loads(line)["document"] for line in whole.text.splitlines()] == [*range(7)]


async def test_who_does_not_ask_for_them_is_told_of_them(place: Place) -> None:
    place.learn("Running")
    answer = await place.get()
    sentence = "Job a has no samples: it is still running; live=true shows its answers so far"
    assert (answer.status_code, answer.json()["detail"]) == (404, sentence)
    assert (await place.session.get("/jobs/a")).json()["links"]["samples"] == {}


@pytest.mark.parametrize("live", ["", "?live=true"])
@pytest.mark.parametrize(("phase", "files"), [("Cancelled", None), ("Failed", None), ("Failed", [layout.LOG_FILE])])
async def test_a_job_that_ended_too_soon_has_partial_samples(
    place: Place, phase: str, files: list[str] | None, live: str
) -> None:
    place.learn(phase, files=files)
    page = await place.get(live)
    assert documents(page) == [*range(6)]
    assert (page.json()["partial"], page.json()["next_cursor"]) == (True, None)
    job = (await place.session.get("/jobs/a?include=samples")).json()
    links = {task: f"http://front-end/jobs/a/samples/{task}" for task in ("mme", "other")}
    assert (job["links"]["samples"], job["scores"], job["result"], job["output"]) == (links, None, None, None)
    assert documents(await place.session.get(links["other"])) == [0]
    whole = await place.get(**LINES)
    assert [json.loads(line)["document"] for line in whole.text.splitlines()] == [*range(6)]


async def test_nothing_is_wrong_where_nothing_is_scored(place: Place) -> None:
    place.learn("Failed")
    for query in ("?filter=wrong", "?filter=wrong&live=true"):
        answer = await place.get(query)
        assert (answer.status_code, "Nothing is scored" in answer.text) == (422, True)


async def test_a_job_with_samples_shows_those(place: Place) -> None:
    sample = {"doc_id": 0, "acc": 1.0}
    place.store.objects[PREFIX.file(layout.sample_file("mme"))] = pack_segment([json.dumps(sample).encode() + b"\n"])
    for phase in ("Completed", "Failed"):
        place.learn(phase, files=[layout.sample_file("mme")])
        for query in ("", "?live=true"):
            assert (await place.get(query)).json() == {"samples": [sample], "next_cursor": None}
    place.learn("Running", attempt=2)
    cursor = (await place.get("?live=true")).json()["end_cursor"]
    place.learn("Completed", files=[layout.sample_file("mme")])
    answer = await place.get(f"?live=true&cursor={cursor}")
    assert (answer.status_code, "its samples are scored" in answer.json()["detail"]) == (409, True)


async def test_where_there_are_none_it_says_why(place: Place) -> None:
    async def detail(query: str = "", task: str = "mme") -> str:
        answer = await place.get(query, task)
        assert answer.status_code == 404, answer.text
        return str(answer.json()["detail"])

    place.learn("Cancelled")
    assert await detail(task="nope") == "Job a has no answers of nope; it has those of mme, other."
    place.learn("Queued", attempt=0)
    assert await detail("?live=true") == "Job a has no samples: it has not started"
    place.learn("Failed", logSamples=False)
    assert await detail() == "Job a has no samples: it runs without log_samples"
    place.store.objects.clear()
    place.learn("Failed")
    assert await detail() == "Job a has no samples: it failed: OutOfMemory"
    place.learn("Cancelled", attempt=0, kept=0)
    assert await detail() == "Job a has no samples: it was cancelled"
    assert (await place.session.get("/jobs/a")).json()["links"]["samples"] == {}


async def test_the_only_task_may_be_a_group(place: Place) -> None:
    place.learn("Cancelled", tasks=["mmmu"])
    page = await place.get(task="mmmu")
    assert [(item["task"], item["document"]) for item in page.json()["samples"]][-2:] == [("mme", 5), ("other", 0)]
    assert documents(await place.get(task="other")) == [0]


async def test_links_of_groups_are_those_of_their_tasks(place: Place) -> None:
    place.learn("Cancelled", tasks=["mmmu", "mmbench,other"])
    tasks = ["mmmu_val", "mmbench_en", "mmbench_cn"]
    header = build_header(1, tasks=tasks)
    place.store.objects[name_segment(FIRST)] = pack_segment([header, build_chunk(range(3), task="mmmu_val")])
    place.store.objects[name_segment(PREFIX)] = pack_segment(
        [build_header(2, tasks=tasks), build_chunk([7], task=tasks[1])]
    )
    links = (await place.session.get("/jobs/a")).json()["links"]["samples"]
    assert list(links) == sorted(tasks)
    found = {task: documents(await place.session.get(link)) for task, link in links.items()}
    assert found == {"mmmu_val": [0, 1, 2], "mmbench_en": [7], "mmbench_cn": []}
    detail = (await place.get(task="mmmu")).json()["detail"]
    assert detail == "Job a has no answers of mmmu; it has those of mmbench_en, mmmu_val."

    # The header never changes: nothing is read for it again.
    reads = len(place.store.reads)
    assert (await place.session.get("/jobs/a")).json()["links"]["samples"] == links and len(place.store.reads) == reads


async def test_links_are_of_the_last_attempt_with_a_journal_as_far_as_it_can_be_read(place: Place) -> None:
    async def links() -> list[str]:
        return list((await place.session.get("/jobs/a")).json()["links"]["samples"])

    place.learn("Failed", tasks=["mmmu", "other"])
    del place.store.objects[name_segment(PREFIX)]
    place.store.objects[name_segment(FIRST)] = b"broken"
    assert await links() == ["mmmu", "other"]
    odd = ["../x", "", *map(str, range(2000))]
    place.store.objects[name_segment(FIRST)] = pack_segment([build_header(1, tasks=odd), build_chunk([0])])
    found = await links()
    assert len(found) <= 1000 and {".._x", "_", "7"} <= set(found)
    # Without the store nobody knows which of several names are groups.
    assert (await place.session.patch("/jobs/a", json={})).json()["links"]["samples"] == {}


@pytest.mark.parametrize("path", ["a%20task%3F", "%2e%2e", "%C3%84%00", "..%2f..%2fresults.json", "x" * 1000])
async def test_task_names_with_odd_characters(place: Place, path: str) -> None:
    place.learn("Running", tasks=["a task?", "other"])
    place.write(PREFIX, build_chunk([1], task="a task?"))
    for suffix in ("?live=true", ""):
        answer = await place.get(suffix, task=path)
        assert answer.status_code in (200, 404)
        if path == "a%20task%3F" and suffix:
            assert documents(answer) == [1]
    assert {key.partition("/a")[0] for key in place.store.lists} <= {"team"}
    assert {key.split("/")[1] for key in (*place.store.lists, *place.store.reads)} <= {"a-0a1b2c3d"}


@pytest.mark.parametrize("cursor", ["x", "MS4wLjA", "bGl2ZS4", "bGl2ZS45OQ", "%00", "ä", "x" * 5000])
async def test_a_cursor_that_is_none(place: Place, cursor: str) -> None:
    place.learn("Running")
    for path in ("/jobs/a/samples/mme?live=true", "/jobs/a/samples/mme/events?x="):
        answer = await place.session.get(f"{path}&cursor={cursor}")
        assert answer.status_code == 422, answer.text


async def test_without_a_store_it_says_so() -> None:
    place = Place()
    place.archive.answers = None
    place.learn("Running")
    for path in ("?live=true", "/events"):
        assert (await place.get(path)).status_code == 501


async def test_a_store_that_is_away_keeps_nobody_waiting(place: Place) -> None:
    place.learn("Running")
    place.store.is_away = True
    for path in ("?live=true", "/events"):
        answer = await place.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert (await place.get("?live=true", **LINES)).status_code == 503


class OwnJobsOnly:
    """Lets its caller read the job `b` alone."""

    how_to_get_a_token = TokenSource("", "")
    instructions = "Send a token."

    async def identify(self, authorization: bytes) -> Caller | None:
        return Caller("somebody")

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        return None if attributes == ResourceAttributes("get", "b") else "That is not yours."


async def test_who_may_not_get_the_job_gets_no_answers() -> None:
    place = Place(authenticator=OwnJobsOnly())
    place.learn("Running")
    for path in ("?live=true", "/events", ""):
        assert (await place.get(path)).status_code == 403
    assert place.store.calls == 0
    assert is_stream("GET", "/jobs/a/samples/mme/events")


@pytest.mark.integration
async def test_a_real_store_is_read_the_same(s3_server: S3Server) -> None:
    bucket = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    place = Place(store=bucket)
    place.learn("Running")
    for key, content in place.store.objects.items():
        await bucket.put(key, content)
    page = await place.get("?live=true&limit=3")
    assert documents(page) == [0, 1, 2]
    rest = await place.get(f"?live=true&cursor={page.json()['next_cursor']}")
    assert documents(rest) == [3, 4, 5]
    # The newest segment again, longer; and one of the next attempt.
    place.write(PREFIX, build_chunk(range(2, 6), batch=4), build_chunk([0], task="other"), build_chunk([6]))
    later = PREFIX._replace(attempt=3)
    place.write(later, build_chunk([6]), build_chunk([7]))
    for key in (name_segment(PREFIX), name_segment(later)):
        await bucket.put(key, place.store.objects[key])
    place.learn("Cancelled", attempt=3)
    assert documents(await place.get(f"?cursor={rest.json()['end_cursor']}")) == [6, 7]
    await bucket.delete_prefix(PREFIX.evaluation)
    assert (await place.get()).status_code == 404


# Streams.


def told(event: bytes) -> tuple[str, list[int]]:
    """The id and the documents of an event."""
    fields = dict(line.split(": ", 1) for line in event.decode().strip().splitlines())
    data = json.loads(fields["data"])
    assert (fields["event"], data["partial"]) == ("answers", True)
    return fields["id"], [item["document"] for item in data["samples"]]


async def test_an_ended_job_s_stream_has_all_and_ends(place: Place) -> None:
    place.learn("Cancelled")
    answer = await place.get("/events")
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    first, *rest = answer.content.split(b"\n\n")
    cursor, seen = told(first)
    assert seen == [*range(6)] and rest == [KEEP_ALIVE.strip(), END.strip(), b""]
    place.write(PREFIX, build_chunk(range(2, 6), batch=4), build_chunk([0], task="other"), build_chunk([6]))
    for query, headers in ((f"?cursor={cursor}", {}), ("", {"Last-Event-ID": cursor})):
        again = await place.get(f"/events{query}", **headers)
        assert told(again.content.split(b"\n\n")[0])[1] == [6]
    place.learn("Completed", files=[layout.sample_file("mme")])
    assert (await place.get("/events")).content == KEEP_ALIVE + END
    place.learn("Failed", logSamples=False)
    assert (await place.get("/events")).status_code == 404


async def test_only_so_many_follow_at_once() -> None:
    place = Place(max_log_follows=1)
    place.learn("Cancelled")
    with place.archive.follows.hold():
        refused = await place.get("/events")
        assert (refused.status_code, "logs and answers" in refused.json()["detail"]) == (429, True)
    for _ in range(3):
        assert (await place.get("/events")).status_code == 200


@pytest.fixture
async def followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(job_feeds, "LOOK_SECONDS", 0.001)
    place.learn("Running")
    running = asyncio.create_task(place.feeds.run())
    yield place
    running.cancel()


async def is_gone(job: JobSnapshot) -> bool:
    return True


def follow(place: Place, job: JobSnapshot) -> AsyncGenerator[bytes, None]:
    reader = cast(AnswerReader, place.archive.answers)
    follower = AnswerFollower(reader, None, lambda state: find_answers(state, "mme", only_empty=False, live=True))
    return follower.stream(place.feeds, job, is_gone=is_gone)


async def test_a_stream_tells_what_is_stored_and_reads_nothing_meanwhile(followed: Place) -> None:
    place = followed
    following = follow(place, place.learn("Running"))
    assert told(await anext(following))[1] == [*range(6)] and await anext(following) == KEEP_ALIVE
    calls, waiting = place.store.calls, asyncio.ensure_future(anext(following))
    for percent in range(5):
        # The job changes, and no answer was stored.
        changed = build_job("Running", tasks=["mme", "other"])
        changed["status"]["progress"]["percent"] = percent
        place.cache.learn(changed)
        await asyncio.sleep(0.02)
    assert not waiting.done() and place.store.calls == calls
    place.write(PREFIX, build_chunk(range(2, 6), batch=4), build_chunk([0], task="other"), build_chunk([6]))
    place.learn("Running", kept=7)
    assert told(await waiting)[1] == [6]
    place.store.objects[name_segment(PREFIX._replace(attempt=3))] = pack_segment([build_header(3), build_chunk([7])])
    place.learn("Running", attempt=3, kept=1)
    assert told(await anext(following))[1] == [7]
    calls = place.store.calls
    place.learn("Completed", files=[layout.sample_file("mme")])
    assert [event async for event in following] == [END] and place.store.calls == calls


async def test_a_stream_of_a_job_that_is_cancelled_tells_the_last_of_it(followed: Place) -> None:
    following = follow(followed, followed.learn("Queued", attempt=0))
    assert await anext(following) == KEEP_ALIVE and followed.store.calls == 0
    followed.learn("Cancelled")
    assert told(await anext(following))[1] == [*range(6)]
    assert [event async for event in following] == [END]


async def test_a_deleted_job_ends_its_streams(followed: Place) -> None:
    job = followed.learn("Running")
    following = follow(followed, job)
    assert [told(await anext(following))[1], await anext(following)] == [[*range(6)], KEEP_ALIVE]
    followed.cache.remove(job)
    assert [event async for event in following] == [END]


async def test_silence_is_kept_alive_and_a_stop_ends_it(followed: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_api.artifacts.answer_stream.KEEP_ALIVE_SECONDS", 0.01)
    following = follow(followed, followed.learn("Running"))
    await anext(following)
    calls = followed.store.calls
    assert [await anext(following) for _ in range(3)] == [KEEP_ALIVE] * 3 and followed.store.calls == calls
    followed.feeds.close()
    assert [event async for event in following if event != KEEP_ALIVE] == []


async def test_the_document_has_the_stream(place: Place) -> None:
    document = (await place.session.get("/openapi.json")).json()
    operation = document["paths"]["/jobs/{job_id}/samples/{task}/events"]["get"]
    assert "text/event-stream" in operation["responses"]["200"]["content"]
    assert document["components"]["schemas"]["LiveAnswer"]["properties"]["scored"]["const"] is False
    names = {item["name"] for item in document["paths"]["/jobs/{job_id}/samples/{task}"]["get"]["parameters"]}
    assert "live" in names
