"""Results and samples over HTTP, out of a real object store, which also goes away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from evaluation_objects import build_evaluation_object
from s3_fixtures import S3Server

from lmms_eval_api.artifacts import job_details, results, store
from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.stored_files import StoredFiles
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.auth import AnonymousAccess
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient, Object
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.content import compressed

# For the S3 server, which is a program of its own.
pytestmark = pytest.mark.integration

NO_CLIENT = cast(KubeClient, None)
WORKER = Worker()
PREFIX = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 2)
RESULTS = {
    "results": {"mme": {"alias": "mme", "acc,none": 0.5, "acc_stderr,none": float("nan")}},
    "higher_is_better": {"mme": {"acc": True}},
}
SAMPLES = [
    {"doc_id": number, "acc": number % 2, "filtered_resps": "" if number % 5 == 0 else "NaN", "loss": float("nan")}
    for number in range(100)
]
CLEAN = [sample | {"loss": None} for sample in SAMPLES]


class CountingStore(ObjectStore):
    """Counts the reads of results files."""

    reads = 0

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        type(self).reads += 1
        return await super().get(key, max_bytes=max_bytes)


def completed(files: list[str], **status: Any) -> Object:
    artifacts = {"uri": f"s3://artifacts/{PREFIX.path}", "files": [{"name": name, "bytes": 1} for name in files]}
    found = {"reason": "Succeeded", "attempt": 2, "artifacts": artifacts, **status}
    arguments = {"pretrained": "Qwen/Qwen2.5-VL-7B", "revision": "x"}
    return build_evaluation_object("a", uid=PREFIX.uid, phase="Completed", status=found, modelArgs=arguments)


def packed(lines: list[Any], frame: int = 1000) -> bytes:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    pieces = [content[at : at + frame] for at in range(0, len(content), frame)]
    return b"".join(b"".join(compressed([piece])) for piece in pieces)


@pytest.fixture
async def bucket(s3_server: S3Server) -> CountingStore:
    opened = CountingStore(StoreSettings.from_environment(s3_server.environment()))
    await opened.put(PREFIX.file(layout.RESULTS_FILE), json.dumps(RESULTS).encode())
    await opened.put(PREFIX.file(layout.sample_file("mme")), packed(SAMPLES))
    await opened.put(PREFIX.file(layout.sample_file("more")), packed(SAMPLES[:3]))
    CountingStore.reads = 0
    return opened


@pytest.fixture
def cache() -> JobCache:
    return JobCache()


def session_of(cache: JobCache, store: ObjectStore | None, **settings: Any) -> httpx.AsyncClient:
    chosen = ApiSettings(auth=AuthMode.NONE, hosts=("front-end", "eval.example.com"), **settings)
    reflector = Reflector(NO_CLIENT, EVALUATIONS, cache, cache.project)
    reflector.synced.set()
    reflector._watching = True
    archive = Archive(NO_CLIENT, store, chosen, WORKER)
    backend = Backend(EvaluationService(NO_CLIENT, cache), reflector, JobFeeds(cache), archive, 60)
    transport = httpx.ASGITransport(make_application(chosen, backend, AnonymousAccess()))
    return httpx.AsyncClient(transport=transport, base_url="http://front-end")


@pytest.fixture
async def session(cache: JobCache, bucket: CountingStore) -> AsyncIterator[httpx.AsyncClient]:
    cache.learn(completed([layout.RESULTS_FILE, layout.sample_file("mme"), layout.sample_file("more")]))
    async with session_of(cache, bucket) as opened:
        yield opened


async def test_a_completed_job_carries_its_output_and_says_where_the_rest_is(session: httpx.AsyncClient) -> None:
    answer = await session.get("/jobs/a", headers={"Host": "eval.example.com:8443", "X-Forwarded-Proto": "https"})
    job = answer.json()
    here = "https://eval.example.com:8443/jobs/a"
    samples = {"mme": f"{here}/samples/mme", "more": f"{here}/samples/more"}
    assert job["result"] == {"Qwen__Qwen2.5-VL-7B": {"results": f"{here}/results", "samples": list(samples.values())}}
    assert job["links"] == {
        "self": here,
        "events": f"{here}/events",
        "logs": f"{here}/logs",
        "results": f"{here}/results",
        "samples": samples,
        "explore": {task: f"{here}/explore/{task}" for task in samples},
        "files": None,
    }
    assert job["output"]["results"]["mme"] == {"alias": "mme", "acc,none": 0.5, "acc_stderr,none": None}
    assert (job["samples"], job["warnings"], answer.headers["Age"]) == (None, [], "0")
    assert (await session.get("/jobs/a/results")).json() == job["output"]


@pytest.mark.parametrize("path", ["/evals/jobs/a", "/jobs/a"])
async def test_links_lead_back_below_the_prefix_whether_a_proxy_strips_it_or_not(
    cache: JobCache, session: httpx.AsyncClient, bucket: CountingStore, path: str
) -> None:
    async with session_of(cache, bucket, root_path="/evals") as below:
        job = (await below.get(path)).json()
        assert job["links"]["results"] == "http://front-end/evals/jobs/a/results"
        assert (await below.get(job["links"]["samples"]["more"])).json()["samples"] == CLEAN[:3]


async def test_the_first_samples_can_be_had_with_it(
    session: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await session.get("/jobs/a?include=samples")).json()
    assert job["samples"] == {"mme": CLEAN[:10], "more": CLEAN[:3]} and job["output"]
    monkeypatch.setattr(job_details, "SAMPLES_BYTES", 10)
    job = (await session.get("/jobs/a?include=samples,samples")).json()
    assert job["samples"] == {"mme": CLEAN[:10]} and job["warnings"] == [
        "samples of 1 tasks are left out; links.samples says where they are."
    ]
    assert (await session.get("/jobs/a?include=everything")).status_code == 422


async def test_fifty_waiters_are_one_read(session: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(session.get("/jobs/a") for _ in range(50)))
    assert all(answer.json()["output"]["results"] for answer in answers)
    await session.get("/jobs/a/results")
    assert CountingStore.reads == 1


async def test_what_is_kept_in_memory_is_bounded(bucket: CountingStore) -> None:
    worker = Worker()
    one = await results.ResultsCache(bucket, worker).get(StoredFiles(PREFIX, frozenset(), (), False))
    # All that is kept counts: the scoring of its tasks is as large as their text.
    assert one.memory_bytes > len(one.text) + sum(len(packed) for packed in one.criteria.values())
    CountingStore.reads = 0
    kept = results.ResultsCache(bucket, worker, kept_bytes=2 * (one.memory_bytes + results.ENTRY_BYTES) + 100)
    for attempt in (1, 2, 3, 2, 1, 2):
        prefix = PREFIX._replace(attempt=attempt)
        await bucket.put(prefix.file(layout.RESULTS_FILE), json.dumps(RESULTS).encode())
        await kept.get(StoredFiles(prefix, frozenset(), (), False))
    assert CountingStore.reads == 4


async def test_a_file_that_cannot_be_shown_is_read_once_and_keeps_nobody_from_the_others(
    session: httpx.AsyncClient, cache: JobCache, bucket: CountingStore
) -> None:
    other = completed([layout.RESULTS_FILE])
    other["metadata"] |= {"name": "b", "uid": "bbbbbbbb-uid"}
    cache.learn(other)
    good = ArtifactPrefix("team", "b", "bbbbbbbb-uid", 2)
    await bucket.put(good.file(layout.RESULTS_FILE), json.dumps(RESULTS).encode())
    await bucket.put(
        PREFIX.file(layout.RESULTS_FILE), b'{"results": {%s}}' % b",".join(b'"%d":{}' % n for n in range(600_000))
    )
    for _ in range(3):
        answer = await session.get("/jobs/a/results")
        assert (answer.status_code, "more than 500000 values" in answer.json()["detail"]) == (502, True)
        job = (await session.get("/jobs/a")).json()
        assert (job["output"], job["warnings"]) == (
            None,
            ["output is null: the results file has more than 500000 values."],
        )
    assert CountingStore.reads == 1
    assert (await session.get("/jobs/b")).json()["output"]


async def test_a_file_that_is_too_large_keeps_nobody_from_the_others(
    bucket: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = results.ResultsCache(bucket, Worker())
    one, other = (StoredFiles(PREFIX._replace(attempt=attempt), frozenset(), (), False) for attempt in (1, 2))
    await bucket.put(one.results_key, json.dumps(RESULTS).encode() + b" " * 1000)
    monkeypatch.setattr(results, "MAX_RESULTS_BYTES", 1000)
    with pytest.raises(store.UnusableArtifact, match="more than 1000 bytes"):
        await kept.get(one)
    assert (await kept.get(other)).text


async def pages(session: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    found, cursor = [], None
    while True:
        params = {**query, **({"cursor": cursor} if cursor else {})}
        answer = await session.get("/jobs/a/samples/mme", params=params)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        cursor = found[-1]["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 7, 50, 100, 500])
async def test_the_pages_are_the_file(session: httpx.AsyncClient, limit: int) -> None:
    found = await pages(session, limit=limit)
    assert [sample for one in found for sample in one["samples"]] == CLEAN
    assert {len(one["samples"]) for one in found[:-1]} <= {limit} and found[0].keys() == {"samples", "next_cursor"}


async def test_wrong_and_empty_ones(session: httpx.AsyncClient) -> None:
    wrong = await pages(session, filter="wrong", limit=20)
    assert [sample for one in wrong for sample in one["samples"]] == CLEAN[::2]
    assert {one["unjudged"] for one in wrong} == {0} and [len(one["samples"]) for one in wrong] == [20, 20, 10]
    empty = await pages(session, filter="empty")
    assert [sample for one in empty for sample in one["samples"]] == CLEAN[::5]


async def test_samples_that_no_metric_judges_are_counted(session: httpx.AsyncClient) -> None:
    answer = (await session.get("/jobs/a/samples/more?filter=wrong")).json()
    assert answer == {"samples": [], "next_cursor": None, "unjudged": 3}


async def test_the_whole_file_line_by_line(session: httpx.AsyncClient) -> None:
    lines = {"Accept": "application/x-ndjson"}
    answer = await session.get("/jobs/a/samples/mme", headers=lines)
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.text == "".join(json.dumps(sample) + "\n" for sample in CLEAN)
    wrong = await session.get("/jobs/a/samples/mme?filter=wrong", headers=lines)
    assert [json.loads(line) for line in wrong.text.splitlines()] == CLEAN[::2]


class HeldStore(ObjectStore):
    """Begins to send when it is told to."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self.asked, self.going = asyncio.Semaphore(0), asyncio.Event()

    async def stream(self, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        self.asked.release()
        await self.going.wait()
        async for piece in super().stream(key, start=start):
            yield piece


LINES = {"Accept": "application/x-ndjson"}


async def test_only_so_many_whole_files_at_once(
    cache: JobCache, session: httpx.AsyncClient, s3_server: S3Server
) -> None:
    held = HeldStore(StoreSettings.from_environment(s3_server.environment()))
    async with session_of(cache, held, max_downloads=2) as bounded:
        first, second = (asyncio.create_task(bounded.get("/jobs/a/samples/mme", headers=LINES)) for _ in range(2))
        for _ in range(2):
            await held.asked.acquire()
        refused = await bounded.get("/jobs/a/samples/mme", headers=LINES)
        assert (refused.status_code, int(refused.headers["Retry-After"]) > 0) == (429, True), refused.text
        # One that is given up makes room, as one that is done does.
        first.cancel()
        await asyncio.wait({first})
        held.going.set()
        answers = [await bounded.get("/jobs/a/samples/mme", headers=LINES), await second]
        assert [(answer.status_code, len(answer.text.splitlines())) for answer in answers] == [(200, len(SAMPLES))] * 2


async def test_what_came_to_an_end_keeps_no_place(
    cache: JobCache, session: httpx.AsyncClient, bucket: CountingStore
) -> None:
    async with session_of(cache, bucket, max_downloads=1) as bounded:
        for _ in range(3):
            assert (await bounded.get("/jobs/a/samples/mme", headers=LINES)).status_code == 200
            assert (await bounded.get("/jobs/a/samples/none", headers=LINES)).status_code == 404


@pytest.mark.parametrize("cursor", ["x", "MS4wLjA", "Mi45OTk5OTk5LjA", "Mi43LjA", "Mi4wLjA=", "%00", "ä"])
async def test_a_cursor_that_is_none(session: httpx.AsyncClient, cursor: str) -> None:
    answer = await session.get("/jobs/a/samples/mme", params={"cursor": cursor})
    assert (answer.status_code, "next_cursor" in answer.text) == (422, True), answer.text


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "filter=odd", "cursor=" + "x" * 65])
async def test_a_query_that_means_nothing(session: httpx.AsyncClient, query: str) -> None:
    assert (await session.get(f"/jobs/a/samples/mme?{query}")).status_code == 422


async def test_what_is_not_there_is_said(session: httpx.AsyncClient, cache: JobCache, bucket: CountingStore) -> None:
    async def detail(path: str) -> str:
        answer = await session.get(path)
        assert answer.status_code == 404
        return str(answer.json()["detail"])

    assert await detail("/jobs/a/samples/other") == "Job a has no samples of other; it has those of mme, more."
    assert await detail("/jobs/a/samples/..%2F..%2Fresults") != ""
    cache.learn(build_evaluation_object("q"))
    cache.learn(build_evaluation_object("f", phase="Failed", status={"reason": "TaskNotFound"}))
    assert await detail("/jobs/q/results") == "Job q has no results: it has not started"
    assert await detail("/jobs/f/samples/mme") == "Job f has no samples: it failed: TaskNotFound"
    await bucket.delete([PREFIX.file(layout.RESULTS_FILE), PREFIX.file(layout.sample_file("mme"))])
    assert "not in the object store any more" in await detail("/jobs/a/results")
    assert "it has those of" in await detail("/jobs/a/samples/mme")
    job = (await session.get("/jobs/a")).json()
    assert (job["output"], len(job["warnings"]), job["result"] is not None) == (None, 1, True)


async def test_of_a_long_list_the_store_knows_the_rest(cache: JobCache, session: httpx.AsyncClient) -> None:
    short = completed([layout.RESULTS_FILE, layout.sample_file("mme")])
    short["status"]["artifacts"]["truncated"] = True
    cache.learn(short)
    assert (await session.get("/jobs/a")).json()["links"]["samples"].keys() == {"mme", "more"}
    assert (await session.get("/jobs/a/samples/more")).json()["samples"] == CLEAN[:3]
    assert (await session.get("/jobs/a/samples/none")).status_code == 404


@pytest.mark.parametrize("how", ["stop", "pause"])
async def test_a_store_that_is_away_keeps_nobody_waiting(
    session: httpx.AsyncClient, s3_server: S3Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_details, "OUTPUT_SECONDS", 0.5)
    monkeypatch.setattr(store, "READ_SECONDS", 1.0)
    monkeypatch.setattr(results, "READ_SECONDS", 1.0)
    monkeypatch.setattr(results, "PAUSE_SECONDS", 5.0)
    getattr(s3_server, how)()
    # One after the other, they would wait twice as long.
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(session.get("/jobs/a") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["output"] is None and answer.json()["warnings"] for answer in answers)
    with monkeypatch.context() as longer:
        # Whoever asks in the pause does not wait for the store at all.
        longer.setattr(job_details, "OUTPUT_SECONDS", 60.0)
        longer.setattr(results, "READ_SECONDS", 60.0)
        async with asyncio.timeout(30):
            assert (await session.get("/jobs/a")).json()["output"] is None
    async with asyncio.timeout(30):
        for path in ("/jobs/a/results", "/jobs/a/samples/mme", "/jobs/a/samples/mme?filter=wrong"):
            answer = await session.get(path)
            assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True), path
            assert "127.0.0.1" not in answer.text
        lines = await session.get("/jobs/a/samples/mme", headers={"Accept": "application/x-ndjson"})
        assert lines.status_code == 503
    s3_server.resume() if how == "pause" else s3_server.start()
    async with asyncio.timeout(30):
        while (await session.get("/jobs/a")).json()["output"] is None:
            await asyncio.to_thread(time.sleep, 0.1)


async def test_without_a_store_it_says_so(cache: JobCache) -> None:
    cache.learn(completed([layout.RESULTS_FILE, layout.sample_file("mme")]))
    async with session_of(cache, None) as session:
        job = (await session.get("/jobs/a")).json()
        assert (job["output"], "LMMS_EVAL_STORE_URL" in job["warnings"][0]) == (None, True)
        for path in ("/jobs/a/results", "/jobs/a/samples/mme"):
            assert (await session.get(path)).status_code == 501


async def test_what_the_store_has_is_not_believed(
    session: httpx.AsyncClient, bucket: CountingStore, tmp_path: Path
) -> None:
    await bucket.put(PREFIX.file(layout.RESULTS_FILE), b'{"results": ')
    await bucket.put(PREFIX.file(layout.sample_file("mme")), b"not compressed")
    assert (await session.get("/jobs/a")).json()["output"] is None
    assert (await session.get("/jobs/a/results")).status_code == 502
    assert (await session.get("/jobs/a/samples/mme")).status_code == 502


# Files that tasks wrote themselves.

FILES = {
    "output/submissions/mmbench_test.xlsx": bytes(range(256)) * 20_000,
    "output/page.html": b"<script>alert(1)</script>",
    "work/empty.csv": b"",
}
MINE = PREFIX._replace(name="b")


@pytest.fixture
async def task_files(s3_server: S3Server) -> AsyncIterator[httpx.AsyncClient]:
    """A front end with a job that left these files, and one of somebody else beside it."""
    bucket = ObjectStore(StoreSettings.from_environment(s3_server.environment()))
    for path, content in FILES.items():
        await bucket.put(PREFIX.file(layout.task_file(path)), b"".join(compressed([content])))
    await bucket.put(MINE.file(layout.task_file("work/mine.csv")), b"".join(compressed([b"mine"])))
    cache = JobCache()
    cache.learn(completed([layout.RESULTS_FILE, layout.task_file("work/empty.csv")]))
    async with session_of(cache, bucket) as opened:
        yield opened


async def test_they_are_listed_and_fetched_byte_for_byte(task_files: httpx.AsyncClient) -> None:
    listed = (await task_files.get("/jobs/a/files")).json()
    assert {entry["path"] for entry in listed["files"]} == FILES.keys() and not listed["truncated"]
    for entry in listed["files"]:
        answer = await task_files.get(entry["url"])
        assert (answer.status_code, answer.content) == (200, FILES[entry["path"]])
    assert (await task_files.get("/jobs/a")).json()["links"]["files"] == "http://front-end/jobs/a/files"


async def test_a_browser_saves_them_and_shows_them_in_no_case(task_files: httpx.AsyncClient) -> None:
    headers = (await task_files.get("/jobs/a/files/output/page.html")).headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    "path",
    [
        "nothing.csv",
        "../results.json",
        "..%2fresults.json",
        "%2e%2e/%2e%2e/b-0a1b2c3d/a2/files/work/mine.csv",
        "/etc/passwd",
        "%00",
    ],
)
async def test_nothing_else_is_reached_by_a_path(task_files: httpx.AsyncClient, path: str) -> None:
    answer = await task_files.get(f"/jobs/a/files/{path}")
    assert answer.status_code == 404


async def test_who_has_none_says_so(task_files: httpx.AsyncClient, s3_server: S3Server) -> None:
    answer = await task_files.get("/jobs/a/files/work/none.csv")
    assert (answer.status_code, "GET /jobs/a/files lists those that it has" in answer.json()["detail"]) == (404, True)
    cache = JobCache()
    cache.learn(completed([layout.RESULTS_FILE]))
    async with session_of(cache, None) as storeless:
        assert (await storeless.get("/jobs/a/files")).status_code == 501
