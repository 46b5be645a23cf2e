"""Cards of samples over HTTP, from a store in memory that counts what is read."""

import random
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from evaluation_objects import build_evaluation_object
from indexed_samples import IndexedSamples, index_samples, repeat_zone
from memory_store import MemoryStore

from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.sample_index import CardPosition, CardQuery, SampleIndexReader
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.store import UnusableArtifact
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
from lmms_eval_core.sample_index.format import ZONE_ROWS
from lmms_eval_core.sample_index.writer import encode_omission
from lmms_eval_core.sample_scoring import FAILED_MARK, SampledTask, SampleFlag, ScoringCriteria
from lmms_eval_core.store.objects import Tail

NO_CLIENT = cast(KubeClient, None)
# One for all tests, as a process is behind it.
WORKER = Worker()
PREFIX = ArtifactPrefix("team", "a", "0a1b2c3d-uid", 2)
TASK = SampledTask(ScoringCriteria({"acc": False, "wer": True}), ("none",), 8)
SAMPLES_KEY = PREFIX.file(layout.sample_file("mme"))
INDEX_KEY = PREFIX.file(layout.index_file(layout.sample_file("mme")))


def make_sample(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "input": f"Question {number}: what is shown in the picture?",
        "target": "AB"[number % 2],
        "filtered_resps": "A",
        "token_counts": [{"output_tokens": number % 9}],
        "acc": 1.0 - number % 2,
        "wer": 0.0,
        **fields,
    }


SAMPLES = [make_sample(number) for number in range(300)]
SAMPLES[7] |= {"filtered_resps": "  ", "acc": 0.0}
SAMPLES[8] |= {"filtered_resps": f"{FAILED_MARK}] no answer", "acc": 0.0}
SAMPLES[9] |= {"acc": 0.25, "input": "Ünïcode “quotes” of a picture", "doc_id": "nine"}
SAMPLES[10] |= {"acc": float("nan"), "wer": None}
SAMPLES[11] |= {"wer": 0.5, "filtered_resps": "x" * 500 + " needle", "input": ["two", "parts"]}


def completed(files: list[str]) -> Object:
    artifacts = {"uri": f"s3://artifacts/{PREFIX.path}", "files": [{"name": name, "bytes": 1} for name in files]}
    found = {"reason": "Succeeded", "attempt": 2, "artifacts": artifacts}
    return build_evaluation_object("a", uid=PREFIX.uid, phase="Completed", status=found)


def make_session(store: MemoryStore | None) -> httpx.AsyncClient:
    chosen, cache = ApiSettings(auth=AuthMode.NONE, hosts=("front-end",)), JobCache()
    cache.learn(completed([layout.RESULTS_FILE, layout.sample_file("mme")]))
    reflector = Reflector(NO_CLIENT, EVALUATIONS, cache, cache.project)
    reflector.synced.set()
    reflector._watching = True
    archive = Archive(NO_CLIENT, store, chosen, WORKER)
    backend = Backend(EvaluationService(NO_CLIENT, cache), reflector, JobFeeds(cache), archive, 60)
    transport = httpx.ASGITransport(make_application(chosen, backend, AnonymousAccess()))
    return httpx.AsyncClient(transport=transport, base_url="http://front-end")


def put(store: MemoryStore, stored: IndexedSamples) -> None:
    store.objects |= {SAMPLES_KEY: stored.samples, INDEX_KEY: stored.index}


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    put(made, index_samples(SAMPLES, TASK))
    return made


@pytest.fixture
async def session(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    async with make_session(store) as opened:
        yield opened


async def explore(session: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await session.get("/jobs/a/explore/mme", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def list_rows(session: httpx.AsyncClient, **query: Any) -> list[int]:
    """Rows of all pages."""
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = await explore(session, **query, **cursor)
        found += [card["row"] for card in page["cards"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def test_the_first_screen(session: httpx.AsyncClient) -> None:
    page = await explore(session)
    assert [card["row"] for card in page["cards"]] == list(range(50))
    assert page["cards"][1] == {
        "row": 1,
        "doc_id": 1,
        "filter": None,
        "flags": ["wrong"],
        "prompt": "Question 1: what is shown in the picture?",
        "target": "B",
        "answer": "A",
        "length": 1,
        "tokens": 1,
        "metrics": {"acc": 0.0, "wer": 0.0},
        "media": [],
        "media_more": 0,
    }
    assert (page["total"], page["matched"], page["scanned"], page["metrics"]) == (300, 300, 300, ["acc", "wer"])
    assert page["counts"] == {
        "wrong": 151,
        "right": 148,
        "empty": 1,
        "failed": 1,
        "truncated": 33,
        "unjudged": 1,
    }
    odd = page["cards"][9], page["cards"][10], page["cards"][11]
    assert [card["doc_id"] for card in odd] == ["nine", 10, 11]
    assert (odd[1]["flags"], odd[1]["metrics"]) == ([], {"acc": None, "wer": None})
    assert (odd[2]["prompt"], odd[2]["answer"], odd[2]["length"]) == ("two\nparts", "x" * 159 + "…", 507)


async def test_the_pages_are_all_of_it(session: httpx.AsyncClient) -> None:
    for limit in (7, 50, 64, 150, 200):
        assert await list_rows(session, limit=limit) == list(range(300))


def find_rows(flag: str) -> list[int]:
    return {
        "wrong": [row for row in range(300) if row == 8 or (row % 2 and row != 10)],
        "right": [row for row in range(300) if not row % 2 and row not in (8, 10)],
        "empty": [7],
        "failed": [8],
        "truncated": [row for row in range(300) if row % 9 == 8],
    }[flag]


async def test_filters(session: httpx.AsyncClient) -> None:
    for flag in ("wrong", "right", "empty", "failed", "truncated"):
        rows = find_rows(flag)
        page = await explore(session, filter=flag)
        assert (page["matched"], page["counts"][flag]) == (len(rows), len(rows))
        assert all(flag in card["flags"] for card in page["cards"])
        for limit in (40, 150, 151, 200):
            assert await list_rows(session, filter=flag, limit=limit) == rows


CONDITIONS: list[tuple[list[str], list[int]]] = [
    (["acc=0.25"], [9]),
    (["wer>0"], [11]),
    (["acc<0.5", "acc>0"], [9]),
    ([" acc >= 1e0 "], [row for row in range(0, 300, 2) if row not in (8, 10)]),
    (["acc!=1"], [row for row in range(300) if row == 8 or (row % 2 and row != 10)]),
    (["acc<=-1"], []),
]


async def test_conditions(session: httpx.AsyncClient) -> None:
    wrong = set(find_rows("wrong"))
    for conditions, rows in CONDITIONS:
        assert await list_rows(session, metric=conditions, limit=100) == rows
        assert (await explore(session, metric=conditions))["matched"] == len(rows)
        assert await list_rows(session, metric=conditions, filter="wrong") == [row for row in rows if row in wrong]


async def test_orders(session: httpx.AsyncClient) -> None:
    rows = list(range(300))
    assert await list_rows(session, sort="tokens", limit=70) == sorted(rows, key=lambda row: row % 9)
    assert await list_rows(session, sort="-tokens") == sorted(rows, key=lambda row: row % 9, reverse=True)
    assert (await list_rows(session, sort="-length"))[:3] == [11, 8, 7]
    by_value = await list_rows(session, sort="acc", filter="wrong")
    assert by_value[-1] == 9 and sorted(by_value) == find_rows("wrong")
    # What has no number stands at the end, whatever the direction.
    assert (await list_rows(session, sort="acc"))[-1] == (await list_rows(session, sort="-acc"))[-1] == 10


async def list_windows(session: httpx.AsyncClient, rows: list[int], **query: Any) -> None:
    """Check the pages around some of the rows, and that one walks from there in both directions."""
    pages = [rows[start : start + 20] for start in range(0, len(rows), 20)]
    for place in {0, 1, len(rows) // 2, len(rows) - 1}:
        page = await explore(session, around=rows[place], limit=20, **query)
        number = place // 20
        assert [card["row"] for card in page["cards"]] == pages[number]
        assert (page["place"], page["matched"]) == (20 * number, len(rows))
        if number:
            before = await explore(session, place=page["place"] - 20, limit=20, **query)
            assert [card["row"] for card in before["cards"]] == pages[number - 1]
            assert before["next_cursor"] is not None
        if page["next_cursor"] is None:
            assert number == len(pages) - 1
        else:
            after = await explore(session, cursor=page["next_cursor"], limit=20, **query)
            assert [card["row"] for card in after["cards"]] == pages[number + 1]


async def test_the_page_around_a_row(session: httpx.AsyncClient) -> None:
    for query in (
        {},
        {"filter": "wrong"},
        {"sort": "-tokens"},
        {"sort": "acc", "filter": "wrong"},
        {"metric": "acc>0"},
    ):
        await list_windows(session, await list_rows(session, **query), **query)


async def test_the_page_around_a_row_that_is_not_in_the_list(session: httpx.AsyncClient) -> None:
    wrong = find_rows("wrong")
    page = await explore(session, around=200, limit=20, filter="wrong")
    assert 201 in [card["row"] for card in page["cards"]] and page["place"] == wrong.index(201) // 20 * 20
    # Behind the last one, the last page is the nearest.
    page = await explore(session, around=100_000, limit=151, filter="wrong")
    assert (len(page["cards"]), page["place"]) == (151, 0)
    assert (await explore(session, around=200, limit=20, filter="wrong", sort="acc"))["place"] == 0
    behind = await explore(session, place=1000, filter="wrong")
    assert (behind["cards"], behind["next_cursor"]) == ([], None)


async def test_only_what_is_counted_has_a_place(session: httpx.AsyncClient) -> None:
    for query, places in (({}, [0, 100]), ({"sort": "acc"}, [0, 100]), ({"filter": "wrong"}, [0, None])):
        first = await explore(session, limit=100, **query)
        second = await explore(session, limit=100, cursor=first["next_cursor"], **query)
        assert [first["place"], second["place"]] == places
    assert (await explore(session, q="picture"))["place"] is None


SEARCHES: list[tuple[str, list[int]]] = [
    ("NEEDLE", [11]),
    ("question 42:", [42]),
    ("ünïCODE “q", [9]),
    ('quotes"', []),
    ("parts", [11]),
    ("picture", [row for row in range(300) if row != 11]),
]


async def test_search(session: httpx.AsyncClient) -> None:
    wrong = set(find_rows("wrong"))
    for text, rows in SEARCHES:
        assert await list_rows(session, q=text) == rows
        assert await list_rows(session, q=text, limit=29) == rows
        assert await list_rows(session, q=text, filter="wrong", limit=29) == [row for row in rows if row in wrong]


async def test_a_search_tells_how_far_it_is(session: httpx.AsyncClient) -> None:
    page = await explore(session, q="picture", limit=10)
    assert (page["matched"], page["scanned"], len(page["cards"])) == (None, 10, 10)
    assert (await explore(session, q="nowhere"))["scanned"] == 300


async def test_one_sample(session: httpx.AsyncClient) -> None:
    for path, row in (("0", 0), ("299", 299), ("nine", 9)):
        found = (await session.get(f"/jobs/a/samples/mme/{path}")).json()
        assert (found["card"]["row"], found["sample"]) == (row, SAMPLES[row])
    missing = await session.get("/jobs/a/samples/mme/9")
    assert (missing.status_code, "no sample of mme with the doc_id 9." in missing.text) == (404, True)


async def test_one_of_several_filters(store: MemoryStore) -> None:
    lines = [make_sample(number, filtered_resps=name) for name in ("strict", "flexible") for number in range(5)]
    put(store, index_samples(lines, TASK._replace(filters=("strict-match", "flexible-extract"))))
    async with make_session(store) as session:
        cards = (await explore(session))["cards"]
        assert [card["filter"] for card in cards] == ["strict-match"] * 5 + ["flexible-extract"] * 5
        for name, answer in (("strict-match", "strict"), ("flexible-extract", "flexible")):
            found = (await session.get(f"/jobs/a/samples/mme/3?filter_name={name}")).json()
            assert (found["sample"]["filtered_resps"], found["card"]["doc_id"]) == (answer, 3)
        assert (await session.get("/jobs/a/samples/mme/3")).json()["card"]["row"] == 3
        assert (await session.get("/jobs/a/samples/mme/3?filter_name=other")).status_code == 404


async def test_lines_that_are_no_samples_have_a_card_too(store: MemoryStore) -> None:
    put(store, index_samples(['{"doc_id": 0}', "no JSON", "[1]", '{"omitted": "this line is longer"}'], TASK))
    async with make_session(store) as session:
        page = await explore(session)
        assert [(card["doc_id"], card["flags"]) for card in page["cards"]] == [
            (0, ["empty"]),
            (None, []),
            (None, []),
            (None, ["empty"]),
        ]
        assert page["counts"]["unjudged"] == 4


async def test_a_job_without_an_index_says_where_its_samples_are(
    store: MemoryStore, session: httpx.AsyncClient
) -> None:
    store.objects[INDEX_KEY] = encode_omission("there are more than 7 of them")
    answer = await session.get("/jobs/a/explore/mme")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "The samples of mme of job a are not indexed: there are more than 7 of them. "
        "Read them page by page: GET /jobs/a/samples/mme.",
    )
    async with make_session(store) as another:
        del store.objects[INDEX_KEY]
        for path in ("/jobs/a/explore/mme", "/jobs/a/samples/mme/1"):
            answer = await another.get(path)
            assert (answer.status_code, "page by page: GET /jobs/a/samples/mme." in answer.text) == (404, True)
        assert (await another.get("/jobs/a/explore/other")).json()["detail"] == "Job a has no samples of other."
        store.is_away = True
        assert (await another.get("/jobs/a/explore/mme")).status_code == 503
    async with make_session(None) as storeless:
        assert (await storeless.get("/jobs/a/explore/mme")).status_code == 501


MEANINGLESS: list[tuple[str, str]] = [
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("filter=odd", "filter"),
    ("metric=acc", "metric"),
    ("metric=acc<x", "metric"),
    ("metric=acc<1e", "metric"),
    ("metric=other<1", "metric"),
    ("sort=other", "sort"),
    ("sort=time", "sort"),
    ("q=a&sort=acc", "sort"),
    ("cursor=x", "cursor"),
    ("cursor=ä", "cursor"),
    ("cursor=MS4wLjAuMA", "cursor"),
    ("q=a&cursor=Mi4wLjk5OTk5OS4w", "cursor"),
    ("around=-1", "around"),
    ("place=a", "place"),
    ("around=1&place=1", "place"),
    ("cursor=Mi4wLjAuMA&around=1", "around"),
    ("q=a&around=1", "around"),
    ("q=a&place=1", "place"),
]


async def test_a_query_that_means_nothing(session: httpx.AsyncClient) -> None:
    for query, where in MEANINGLESS:
        answer = await session.get(f"/jobs/a/explore/mme?{query}")
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"][:2] == ["query", where], query


async def test_a_cursor_behind_the_end_finds_nothing(session: httpx.AsyncClient) -> None:
    page = await explore(session, cursor="Mi45OTk5OTkuMC4w")
    assert (page["cards"], page["next_cursor"]) == ([], None)


class CountingStore(MemoryStore):
    """Counts the bytes that are read."""

    bytes_read = 0

    async def tail(self, key: str, *, length: int) -> Tail:
        found = await super().tail(key, length=length)
        self.bytes_read += len(found.content)
        return found

    async def range(self, key: str, *, start: int, length: int) -> bytes:
        found = await super().range(key, start=start, length=length)
        self.bytes_read += len(found)
        return found


@pytest.fixture(scope="module")
def million() -> IndexedSamples:
    """The index of a million samples, as many as lmms-eval has in no task."""
    text = "The picture shows a street with houses and trees, and people who wait for a bus. " * 3
    one = index_samples(
        (
            make_sample(number, input=f"{number} {text}", filtered_resps=text[number % 80 :], acc=number * 7 % 10 / 9)
            for number in range(ZONE_ROWS)
        ),
        TASK,
    )
    return IndexedSamples(one.samples, repeat_zone(one.index, 16))


@pytest.mark.parametrize("query", ["", "filter=wrong", "filter=truncated&limit=200"])
async def test_the_first_screen_of_a_million_samples_is_four_small_reads(million: IndexedSamples, query: str) -> None:
    store = CountingStore()
    put(store, million)
    async with make_session(store) as session:
        page = (await session.get(f"/jobs/a/explore/mme?{query}")).json()
        assert page["total"] == 16 * ZONE_ROWS and len(page["cards"]) in (50, 200)
        assert len(store.reads) <= 4 and store.bytes_read <= 256_000, (len(store.reads), store.bytes_read)
        # The next one needs no more than its cards, and a last one is as near as the first.
        reads = len(store.reads)
        await session.get(f"/jobs/a/explore/mme?{query}&cursor={page['next_cursor']}")
        assert len(store.reads) - reads <= 2
    assert not store.lists


async def test_the_page_around_a_row_of_a_million_is_near(million: IndexedSamples) -> None:
    store = CountingStore()
    put(store, million)
    async with make_session(store) as session:
        last = 16 * ZONE_ROWS - 1
        for query in ("", "&filter=wrong", "&sort=-tokens"):
            page = (await session.get(f"/jobs/a/explore/mme?around={last}{query}")).json()
            assert last in [card["row"] for card in page["cards"]] and page["next_cursor"] is None or "sort" in query
            again = len(store.reads)
            await session.get(f"/jobs/a/explore/mme?place={page['place'] - 50}{query}")
            assert len(store.reads) - again <= 50


async def test_a_million_samples_are_sorted_within_the_worker(million: IndexedSamples) -> None:
    store = CountingStore()
    put(store, million)
    async with make_session(store) as session:
        page = await explore(session, sort="-acc", filter="wrong", limit=3)
        assert [card["metrics"]["acc"] for card in page["cards"]] == [8 / 9] * 3
        assert page["matched"] == page["counts"]["wrong"] > 900_000
        reads = len(store.reads)
        await explore(session, sort="-acc", filter="wrong", limit=3, cursor=page["next_cursor"])
        assert len(store.reads) - reads <= 2
        # A document behind the first zone is found where its number says.
        assert (await explore(session, metric="acc<0.1", limit=1))["matched"] > 100_000


async def test_a_tampered_index_harms_nobody(store: MemoryStore) -> None:
    whole, worker, refused = store.objects[INDEX_KEY], Worker(), 0
    for seed in range(100):
        store.objects[INDEX_KEY] = tamper(whole, random.Random(seed))
        indexes = SampleIndexReader(store, worker, SampleReader(store, worker))
        try:
            index = await indexes.open(INDEX_KEY, samples=SAMPLES_KEY)
            for query in (CardQuery(), CardQuery(SampleFlag.WRONG), CardQuery(sort="tokens"), CardQuery(text="x")):
                page = await indexes.read_page(index, query, CardPosition(), 200)
                assert len(page.cards) <= 200
            await indexes.read_sample(index, 5, None)
        except (UnusableArtifact, LookupError) as error:
            refused += 1
            assert isinstance(error, LookupError) or "the index of these samples" in error.why
    assert refused > 50


def tamper(whole: bytes, generator: random.Random) -> bytes:
    torn = bytearray(whole)
    if not generator.randrange(4):
        return whole[: generator.randrange(len(whole))]
    for _ in range(generator.choice([1, 5, 50])):
        # Half of them in the header, where a byte has a meaning.
        start = generator.choice([0, len(torn) - 600])
        torn[generator.randrange(start, len(torn))] = generator.randrange(256)
    return bytes(torn)


async def test_an_index_that_leads_to_other_samples(store: MemoryStore) -> None:
    store.objects[SAMPLES_KEY] = index_samples(SAMPLES[1:], TASK).samples
    async with make_session(store) as session:
        for path in ("0", "299"):
            answer = await session.get(f"/jobs/a/samples/mme/{path}")
            assert (answer.status_code, "leads to other ones" in answer.text) == (502, True)
        store.objects[SAMPLES_KEY] = b"no frames"
        assert (await session.get("/jobs/a/samples/mme/5")).status_code == 502
        assert (await session.get("/jobs/a/explore/mme?q=x")).status_code == 502


async def test_links_name_it(session: httpx.AsyncClient) -> None:
    links = (await session.get("/jobs/a")).json()["links"]
    assert links["explore"] == {"mme": "http://front-end/jobs/a/explore/mme"}
    assert (await session.get(links["explore"]["mme"])).status_code == 200
