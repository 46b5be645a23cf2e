"""GET /jobs without HTTP: what a filter lets through, what a cursor means, and that paging neither repeats nor forgets."""

import random
from typing import Any

import pytest
from api_objects import evaluation_object
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.listing import BadCursor, BadLabel, Filter, Label, after, cursor_of, label_of
from lmms_eval_api.jobs.snapshot import Age, Job, job_of
from lmms_eval_core.kube.client import Object
from lmms_eval_core.wire import JobStatus

EVERYTHING = Filter()


def labelled(name: str, labels: dict[str, str], **fields: Any) -> Object:
    found = evaluation_object(name, **fields)
    found["metadata"]["labels"] = labels
    return found


def cache_of(*objects: Object) -> JobCache:
    cache = JobCache()
    cache.replace([job_of(item) for item in objects])
    return cache


def names_of(cache: JobCache, wanted: Filter = EVERYTHING) -> list[str]:
    return [job.name for job in cache.page(wanted, after=None, limit=500).jobs]


def test_the_newest_come_first_and_those_of_one_second_by_name() -> None:
    cache = cache_of(
        evaluation_object("old", created_at="2025-12-31T23:59:59Z"),
        evaluation_object("b", created_at="2026-01-01T00:00:00Z"),
        evaluation_object("a", created_at="2026-01-01T00:00:00Z"),
        evaluation_object("new", created_at="2026-01-01T00:00:01Z"),
    )
    assert names_of(cache) == ["new", "a", "b", "old"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EVERYTHING, ["plain", "running", "vision"]),
        (Filter(statuses=frozenset({JobStatus.RUNNING, JobStatus.FAILED})), ["running"]),
        (Filter(model="vllm"), ["vision"]),
        (Filter(task="ai2d"), ["vision"]),
        (Filter(task="ai"), []),
        (Filter(labels=(Label("team", None),)), ["running", "vision"]),
        (Filter(labels=(Label("team", "vision"),)), ["vision"]),
        (Filter(labels=(Label("team", "vision"), Label("team", "other"))), []),
        (Filter(labels=(Label("team", ""),)), []),
        (Filter(labels=(Label("lmms-eval.io/created-by", None),)), []),
        (Filter(model="vllm", statuses=frozenset({JobStatus.RUNNING})), []),
    ],
)
def test_filters(wanted: Filter, found: list[str]) -> None:
    cache = cache_of(
        evaluation_object("plain"),
        labelled("running", {"team": "speech"}, phase="Running"),
        labelled("vision", {"team": "vision", "lmms-eval.io/created-by": "api"}, model="vllm", tasks=["mme", "ai2d"]),
    )
    assert names_of(cache, wanted) == found


@pytest.mark.parametrize(
    ("text", "label"), [("a", ("a", None)), ("a=", ("a", "")), ("a=b", ("a", "b")), ("a/b=c=d", ("a/b", "c=d"))]
)
def test_labels(text: str, label: tuple[str, str | None]) -> None:
    assert label_of(text) == label


@pytest.mark.parametrize("text", ["", "=", "=b"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(BadLabel):
        label_of(text)


@given(st.integers(-(10**11), 10**11), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_cursor_comes_back_as_it_was_given(second: int, name: str) -> None:
    assert after(cursor_of(Age(second, name))) == (second, name)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_whatever_else_is_sent_is_none(text: str) -> None:
    try:
        found = after(text)
    except BadCursor:
        return
    assert isinstance(found, Age)


@pytest.mark.parametrize("text", ["", "AAAA", "MS8x", "1/1/a", "MS8xL2E=extra", "é", "MS8xL0E"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(BadCursor):
        after(text)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30), st.randoms(use_true_random=False), st.integers(1, 4))
def test_pages_show_what_stays_exactly_once_whatever_comes_and_goes(
    jobs: list[tuple[int, bool]], shuffle: random.Random, limit: int
) -> None:
    stays = {f"stays-{number}" for number, (_, kept) in enumerate(jobs) if kept}
    objects = [
        evaluation_object(f"{'stays' if kept else 'goes'}-{number}", created_at=f"2026-01-01T00:00:0{second}Z")
        for number, (second, kept) in enumerate(jobs)
    ]
    cache = cache_of(*objects)
    leaving = [item for item in objects if item["metadata"]["name"].startswith("goes")]
    shuffle.shuffle(leaving)
    seen: list[str] = []
    last, number = None, 0
    while True:
        page = cache.page(EVERYTHING, after=last, limit=limit)
        assert len(page.jobs) <= limit
        seen += [job.name for job in page.jobs]
        number += 1
        cache.learn(evaluation_object(f"comes-{number}", created_at=f"2026-01-01T00:00:0{shuffle.randrange(4)}Z"))
        if leaving:
            cache.remove(cache.newest(leaving.pop()))
        last = page.last and after(cursor_of(page.last))
        if last is None:
            break
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)


def test_a_page_in_the_middle_of_ten_thousand_looks_at_no_more_than_it_shows() -> None:
    moments = [f"2026-01-{1 + number // 1000:02}T{number % 24:02}:00:00Z" for number in range(10_000)]
    cache = cache_of(*(evaluation_object(f"job-{number}", created_at=at) for number, at in enumerate(moments)))
    looked_at: list[Job] = []
    middle = job_of(evaluation_object("job-5000", created_at=moments[5000])).age
    page = cache.page(lambda job: looked_at.append(job) is None, after=middle, limit=50)
    assert (len(page.jobs), len(looked_at)) == (50, 51)
