"""GET /jobs without HTTP: what a filter lets through, what a cursor means, and that paging neither
repeats nor forgets.
"""

import random
from typing import Any

import pytest
from evaluation_objects import build_evaluation_object
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.listing import (
    InvalidJobCursor,
    InvalidLabel,
    JobFilter,
    LabelSelector,
    decode_job_cursor,
    encode_job_cursor,
    parse_label,
)
from lmms_eval_api.jobs.snapshot import JobSnapshot, ListingKey, make_snapshot
from lmms_eval_core.kube.client import Object
from lmms_eval_core.wire import JobStatus

EVERYTHING = JobFilter()


def labelled(name: str, labels: dict[str, str], **fields: Any) -> Object:
    found = build_evaluation_object(name, **fields)
    found["metadata"]["labels"] = labels
    return found


def cache_of(*objects: Object) -> JobCache:
    cache = JobCache()
    cache.replace([make_snapshot(item) for item in objects])
    return cache


def names_of(cache: JobCache, wanted: JobFilter = EVERYTHING) -> list[str]:
    return [job.name for job in cache.list_page(wanted, after=None, limit=500).jobs]


def test_the_newest_come_first_and_those_of_one_second_by_name() -> None:
    cache = cache_of(
        build_evaluation_object("old", created_at="2025-12-31T23:59:59Z"),
        build_evaluation_object("b", created_at="2026-01-01T00:00:00Z"),
        build_evaluation_object("a", created_at="2026-01-01T00:00:00Z"),
        build_evaluation_object("new", created_at="2026-01-01T00:00:01Z"),
    )
    assert names_of(cache) == ["new", "a", "b", "old"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (EVERYTHING, ["plain", "running", "vision"]),
        (JobFilter(statuses=frozenset({JobStatus.RUNNING, JobStatus.FAILED})), ["running"]),
        (JobFilter(model="vllm"), ["vision"]),
        (JobFilter(task="ai2d"), ["vision"]),
        (JobFilter(task="ai"), []),
        (JobFilter(labels=(LabelSelector("team", None),)), ["running", "vision"]),
        (JobFilter(labels=(LabelSelector("team", "vision"),)), ["vision"]),
        (JobFilter(labels=(LabelSelector("team", "vision"), LabelSelector("team", "other"))), []),
        (JobFilter(labels=(LabelSelector("team", ""),)), []),
        (JobFilter(labels=(LabelSelector("lmms-eval.io/created-by", None),)), []),
        (JobFilter(model="vllm", statuses=frozenset({JobStatus.RUNNING})), []),
    ],
)
def test_filters(wanted: JobFilter, found: list[str]) -> None:
    cache = cache_of(
        build_evaluation_object("plain"),
        labelled("running", {"team": "speech"}, phase="Running"),
        labelled("vision", {"team": "vision", "lmms-eval.io/created-by": "api"}, model="vllm", tasks=["mme", "ai2d"]),
    )
    assert names_of(cache, wanted) == found


@pytest.mark.parametrize(
    ("text", "label"), [("a", ("a", None)), ("a=", ("a", "")), ("a=b", ("a", "b")), ("a/b=c=d", ("a/b", "c=d"))]
)
def test_labels(text: str, label: tuple[str, str | None]) -> None:
    assert parse_label(text) == label


@pytest.mark.parametrize("text", ["", "=", "=b"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(InvalidLabel):
        parse_label(text)


@given(st.integers(-(10**11), 10**11), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_cursor_comes_back_as_it_was_given(second: int, name: str) -> None:
    assert decode_job_cursor(encode_job_cursor(ListingKey(second, name))) == (second, name)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_whatever_else_is_sent_is_none(text: str) -> None:
    try:
        found = decode_job_cursor(text)
    except InvalidJobCursor:
        return
    assert isinstance(found, ListingKey)


@pytest.mark.parametrize("text", ["", "AAAA", "MS8x", "1/1/a", "MS8xL2E=extra", "é", "MS8xL0E"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidJobCursor):
        decode_job_cursor(text)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
def test_pages_show_what_stays_exactly_once_whatever_comes_and_goes(
    jobs: list[tuple[int, bool]], shuffle: random.Random, limit: int
) -> None:
    stays = {f"stays-{number}" for number, (_, kept) in enumerate(jobs) if kept}
    objects = [
        build_evaluation_object(f"{'stays' if kept else 'goes'}-{number}", created_at=f"2026-01-01T00:00:0{second}Z")
        for number, (second, kept) in enumerate(jobs)
    ]
    cache = cache_of(*objects)
    leaving = [item for item in objects if item["metadata"]["name"].startswith("goes")]
    shuffle.shuffle(leaving)
    seen: list[str] = []
    last, number = None, 0
    while True:
        page = cache.list_page(EVERYTHING, after=last, limit=limit)
        assert len(page.jobs) <= limit
        seen += [job.name for job in page.jobs]
        number += 1
        cache.learn(build_evaluation_object(f"comes-{number}", created_at=f"2026-01-01T00:00:0{shuffle.randrange(4)}Z"))
        if leaving:
            cache.remove(cache.project(leaving.pop()))
        last = page.last and decode_job_cursor(encode_job_cursor(page.last))
        if last is None:
            break
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)


def test_a_page_in_the_middle_of_ten_thousand_looks_at_no_more_than_it_shows() -> None:
    moments = [f"2026-01-{1 + number // 1000:02}T{number % 24:02}:00:00Z" for number in range(10_000)]
    cache = cache_of(*(build_evaluation_object(f"job-{number}", created_at=at) for number, at in enumerate(moments)))
    looked_at: list[JobSnapshot] = []

    def accept(job: JobSnapshot) -> bool:
        looked_at.append(job)
        return True

    middle = make_snapshot(build_evaluation_object("job-5000", created_at=moments[5000])).listing_key
    page = cache.list_page(accept, after=middle, limit=50)
    assert (len(page.jobs), len(looked_at)) == (50, 51)
