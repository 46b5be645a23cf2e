"""The samples that changed between two jobs, over HTTP."""

from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from compared_jobs import Jobs, Rights, make_samples

from lmms_eval_api.auth import Authenticator
from lmms_eval_core.sample_scoring import FAILED_MARK

#       0 lost, 1 won, 2 both wrong, 3 both right, 4 failed in one, 5 with another target, 6 lost, 7 in one alone
OLD = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
NEW = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.5, 1.0]


@pytest.fixture
def jobs() -> Jobs:
    made, old, new = Jobs(), make_samples(OLD), make_samples(NEW)
    new[4]["filtered_resps"] = [f"{FAILED_MARK}] no answer"]
    new[5]["target"] = "B"
    made.add("main", {"mme": old})
    # In another order, so that a document's rows differ.
    made.add("ckpt", {"mme": new[::-1]})
    return made


@pytest.fixture
async def session(jobs: Jobs) -> AsyncIterator[httpx.AsyncClient]:
    async with jobs.open() as opened:
        yield opened


async def list_flips(session: httpx.AsyncClient, flip: str, **query: Any) -> dict[str, Any]:
    answer = await session.get("/jobs/ckpt/compare/mme", params={"baseline": "main", "flip": flip, **query})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def list_documents(page: dict[str, Any]) -> list[int]:
    for sample in page["samples"]:
        assert sample["baseline"]["doc_id"] == sample["candidate"]["doc_id"]
    return [sample["candidate"]["doc_id"] for sample in page["samples"]]


@pytest.mark.parametrize(("flip", "documents"), [("lost", [6, 0]), ("won", [1]), ("both_wrong", [2])])
async def test_what_changed_is_listed_in_the_order_of_the_job(
    session: httpx.AsyncClient, flip: str, documents: list[int]
) -> None:
    page = await list_flips(session, flip)
    assert list_documents(page) == documents
    assert (page["matched"], page["place"]) == (len(documents), 0)
    assert page["counts"] == {"lost": 2, "won": 1, "both_wrong": 1}
    assert (page["metric"], page["filter"]) == ("acc", "none")


async def test_cards_are_of_either_job(session: httpx.AsyncClient) -> None:
    first = (await list_flips(session, "lost"))["samples"][0]
    assert (first["baseline"]["row"], first["candidate"]["row"]) == (6, 1)
    assert (first["baseline"]["metrics"], first["candidate"]["metrics"]) == ({"acc": 1.0}, {"acc": 0.5})
    assert (first["baseline"]["flags"], first["candidate"]["flags"]) == (["right"], ["wrong"])


async def test_pages(session: httpx.AsyncClient) -> None:
    assert list_documents(await list_flips(session, "lost", limit=1)) == [6]
    assert list_documents(await list_flips(session, "lost", limit=1, place=1)) == [0]
    assert list_documents(await list_flips(session, "lost", place=2)) == []
    for around, documents in ((1, [6]), (2, [0]), (7, [0]), (100, [0])):
        page = await list_flips(session, "lost", limit=1, around=around)
        assert (list_documents(page), page["place"]) == (documents, 0 if documents == [6] else 1)


async def test_where_lower_is_better_more_is_lost() -> None:
    jobs = Jobs()
    results = {"higher_is_better": {"mme": {"acc": False}}}
    for name, values in (("main", OLD), ("ckpt", NEW[:7])):
        jobs.add(name, {"mme": make_samples(values)}, results=results)
    async with jobs.open() as session:
        assert list_documents(await list_flips(session, "lost")) == [1]
        assert list_documents(await list_flips(session, "won")) == [0, 4, 5, 6]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/jobs/ckpt/compare/mme?baseline=main&flip=odd", 422, "lost"),
        ("/jobs/ckpt/compare/mme?flip=lost", 422, "baseline"),
        ("/jobs/ckpt/compare/mme?baseline=main&flip=lost&metric=bleu", 422, "no values of bleu"),
        ("/jobs/ckpt/compare/mme?baseline=main&flip=lost&filter=strict", 422, "the filter strict"),
        ("/jobs/ckpt/compare/mme?baseline=nobody&flip=lost", 404, "nobody"),
        ("/jobs/ckpt/compare/gqa?baseline=main&flip=lost", 404, "no samples of gqa"),
    ],
)
async def test_what_cannot_be_listed_is_said(session: httpx.AsyncClient, path: str, status: int, sentence: str) -> None:
    answer = await session.get(path)
    assert (answer.status_code, sentence in answer.text) == (status, True), answer.text


async def test_a_job_without_an_index(jobs: Jobs, session: httpx.AsyncClient) -> None:
    jobs.put_index("main", None)
    answer = await session.get("/jobs/ckpt/compare/mme?baseline=main&flip=lost")
    assert answer.status_code == 404
    assert "The samples of mme of job main are not indexed" in answer.json()["detail"]
    jobs.put_index("main", b"no index")
    assert (await session.get("/jobs/ckpt/compare/mme?baseline=main&flip=lost")).status_code == 502


@pytest.mark.parametrize(
    ("names", "query", "status"),
    [
        (("ckpt", "main"), "baseline=main", 200),
        (("ckpt",), "baseline=main", 403),
        (("main",), "baseline=main", 403),
        (("ckpt",), "baseline=nobody", 403),
        # FastAPI takes the last of them.
        (("ckpt", "main"), "baseline=main&baseline=other", 403),
    ],
)
async def test_both_jobs_need_the_right_to_them(jobs: Jobs, names: tuple[str, ...], query: str, status: int) -> None:
    async with jobs.open(cast(Authenticator, Rights(*names))) as session:
        answer = await session.get(f"/jobs/ckpt/compare/mme?flip=lost&{query}")
        assert answer.status_code == status, answer.text
        if status == 403:
            # Neither which of them nor whether there is one.
            assert answer.json()["detail"] == "somebody may not get lmmevaluations"
            assert jobs.store.reads == []
