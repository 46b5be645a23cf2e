"""Answers from memory are those that the routes would give."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from api_objects import evaluation_object
from api_offline import BEARER, offline, offline_backend
from fastapi import FastAPI

from lmms_eval_api import answers
from lmms_eval_api.job import job_of
from lmms_eval_api.routes import jobs
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.unchanged import ALL_BYTES, MAX_BYTES, Unchanged

NAMES = [f"job-{number}" for number in range(6)]


@pytest.fixture
def backend() -> Backend:
    made = offline_backend()
    made.evaluations.cache.replace([job_of(evaluation_object(name)) for name in NAMES])
    made.reflector._watching = True
    return made


@pytest.fixture
def app(backend: Backend, tmp_path: Path) -> FastAPI:
    return offline(tmp_path, backend)


@pytest.fixture
async def session(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://front-end", headers=BEARER) as client:
        yield client


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs whose answers a route has made."""
    names: list[str] = []

    def counted(job: answers.Job, *, position: int | None) -> answers.JobInfo:
        names.append(job.name)
        return answers.job_info(job, position=position)

    monkeypatch.setattr(jobs, "job_info", counted)
    return names


def middleware(app: FastAPI) -> Unchanged:
    layer = app.middleware_stack
    while not isinstance(layer, Unchanged):
        layer = getattr(layer, "_app", None) or getattr(layer, "app")  # noqa: B009  # of whatever type
    return layer


async def test_a_job_that_waits_is_told_of_once(session: httpx.AsyncClient, made: list[str]) -> None:
    first, second = [await session.get("/jobs/job-3") for _ in range(2)]
    assert made == ["job-3"]
    assert (first.content, first.headers["Age"]) == (second.content, second.headers["Age"])
    assert first.headers["Content-Type"] == second.headers["Content-Type"] == "application/json"
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert len(second.headers.get_list("X-Request-ID")) == len(second.headers.get_list("Age")) == 1


async def test_who_may_see_nothing_is_told_nothing(session: httpx.AsyncClient) -> None:
    await session.get("/jobs/job-3")
    assert (await session.get("/jobs/job-3", headers={"Authorization": "Bearer wrong"})).status_code == 401


@pytest.mark.parametrize(
    "other",
    [
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"params": {"include": "samples"}},
    ],
    ids=["other links", "more"],
)
async def test_who_asks_for_something_else_is_answered_anew(
    session: httpx.AsyncClient, made: list[str], other: dict[str, dict[str, str]]
) -> None:
    await session.get("/jobs/job-3")
    await session.get("/jobs/job-3", **other)  # type: ignore[arg-type]  # headers or params
    assert made == ["job-3"] * 2


async def test_who_wrote_is_answered_from_memory_once_the_watch_has_come_that_far(
    session: httpx.AsyncClient, backend: Backend, made: list[str]
) -> None:
    version = 10**6
    backend.reflector._told(str(version - 1))
    await session.get("/jobs/job-3")
    cookie = {"Cookie": f"other=1; lmms_eval_version={version}"}
    asked = asyncio.create_task(session.get("/jobs/job-3", headers=cookie))
    await asyncio.sleep(0.05)
    assert not asked.done()
    backend.reflector._told(str(version))
    await asked
    assert made == ["job-3"] * 2
    await session.get("/jobs/job-3", headers=cookie)
    assert made == ["job-3"] * 2


async def test_what_has_ended_is_looked_up_as_its_files_may_come_and_go(
    session: httpx.AsyncClient, backend: Backend, made: list[str]
) -> None:
    backend.evaluations.cache.learn(evaluation_object("job-3", phase="Completed"))
    for _ in range(2):
        await session.get("/jobs/job-3")
    assert made == ["job-3"] * 2


async def test_nothing_is_told_when_the_watch_is_lost_for_long(session: httpx.AsyncClient, backend: Backend) -> None:
    await session.get("/queue")
    backend.reflector._watching = False
    assert (await session.get("/queue")).status_code == 503


async def test_memory_is_bounded(app: FastAPI, session: httpx.AsyncClient, backend: Backend) -> None:
    await session.get("/queue")
    kept = middleware(app)._answers
    answer = next(iter(kept.values()))._replace(body=b"x" * MAX_BYTES)
    most = ALL_BYTES // MAX_BYTES
    for number in range(2 * most):
        for _ in range(2):
            middleware(app)._keep((f"/jobs/{number}",), answer)
    assert list(kept) == [(f"/jobs/{number}",) for number in range(most, 2 * most)]
    middleware(app)._keep(("/jobs/large",), answer._replace(body=b"x" * (MAX_BYTES + 1)))
    assert ("/jobs/large",) not in kept


async def test_after_any_change_the_answer_is_the_one_that_a_route_makes(session: httpx.AsyncClient, backend: Backend) -> None:
    cache, chance = backend.evaluations.cache, random.Random(7)
    for step in range(150):
        name = chance.choice(NAMES)
        phase = chance.choice(["Queued", "Queued", "Running", "Completed", "Failed", "Cancelled", "gone"])
        if phase == "gone" and (known := cache.get(name)):
            cache.remove(known)
        elif phase != "gone":
            uid = f"{name}-{step}" if cache.get(name) is None else cache.get(name).uid  # type: ignore[union-attr]  # checked
            cache.learn(evaluation_object(name, phase=phase, uid=uid, priority=chance.randrange(3)))
        for asked in filter(cache.get, NAMES):
            kept = await session.get(f"/jobs/{asked}")
            anew = await session.get(f"/jobs/{asked}", headers={"Host": f"host-{step}"})
            assert kept.text == anew.text.replace(f"host-{step}", "front-end")
        assert (await session.get("/queue")).content == cache.overview().answer
