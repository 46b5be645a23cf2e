"""The application without a cluster: who is let in, and what it says before it has seen anything."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from evaluation_objects import build_evaluation_object
from fastapi import FastAPI
from offline_application import BEARER, make_offline_application, make_offline_backend

from lmms_eval_api.routes import dependencies
from lmms_eval_api.routes.dependencies import COOKIE, Backend


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(clock: Clock) -> Backend:
    return make_offline_backend(clock=clock)


@pytest.fixture
def app(backend: Backend, tmp_path: Path) -> FastAPI:
    return make_offline_application(tmp_path, backend)


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://front-end") as session:
        yield session


async def test_a_stranger_learns_nothing_from_errors(stranger: httpx.AsyncClient) -> None:
    for answer in (
        await stranger.get("/nowhere"),
        await stranger.put("/queue"),
        await stranger.post("/evaluate", content=b"{", headers={"Content-Type": "application/json"}),
        await stranger.post("/evaluate", content=b"x" * 1_000_000),
        await stranger.get("/queue", headers={"Authorization": "Bearer wrong"}),
        await stranger.get("/livez/"),
        await stranger.get("//livez"),
    ):
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("Send a token of this front end")


async def test_before_the_first_list_it_is_alive_and_not_ready(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/livez")).status_code == 200
    for path in ("/readyz", "/queue", "/health", "/jobs/a"):
        answer = await stranger.get(path, headers=BEARER)
        assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True), path


async def test_what_is_known_is_shown_for_a_minute_with_its_age(
    stranger: httpx.AsyncClient, backend: Backend, clock: Clock
) -> None:
    backend.evaluations.cache.learn(build_evaluation_object("a"))
    backend.reflector.synced.set()
    backend.reflector._watching, backend.reflector._last_contact = True, clock.now
    backend.reflector._record_loss()
    clock.now += 59
    answer = await stranger.get("/jobs/a", headers=BEARER)
    assert (answer.status_code, answer.headers["Age"]) == (200, "59")
    assert (await stranger.get("/readyz")).status_code == 200
    clock.now += 2
    assert (await stranger.get("/jobs/a", headers=BEARER)).status_code == 503
    assert (await stranger.get("/readyz")).status_code == 503


async def test_an_error_of_ours_shows_nothing_of_our_insides(app: FastAPI, backend: Backend) -> None:
    backend.evaluations.cache.learn(build_evaluation_object("a"))
    backend.reflector._watching = True
    del backend.evaluations.cache._queue
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://front-end", headers=BEARER) as session:
        answer = await session.get("/jobs/a", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "mine")
    assert "_queue" not in answer.text


async def test_the_document_says_how_to_come_in(stranger: httpx.AsyncClient) -> None:
    document = (await stranger.get("/openapi.json", headers=BEARER)).json()
    assert document["security"] == [{"token": []}, {"password": []}]
    assert document["components"]["securitySchemes"].keys() == {"token", "password"}
    assert {"/evaluate", "/jobs/{job_id}", "/queue", "/health"} <= document["paths"].keys()


async def test_who_wrote_and_may_not_see_it_yet_is_told_so(
    stranger: httpx.AsyncClient, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dependencies, "CATCH_UP_SECONDS", 0.01)
    backend.evaluations.cache.learn(build_evaluation_object("a", version=7))
    backend.reflector._watching = True
    backend.reflector._record_version("7")
    for path in ("/queue", "/health", "/jobs"):
        for version, warned in (("7", False), ("8", True), ("7", False)):
            answer = await stranger.get(path, headers={**BEARER, "Cookie": f"{COOKIE}={version}"})
            assert (answer.status_code, "Warning" in answer.headers) == (200, warned), path
        assert "Warning" not in (await stranger.get(path, headers=BEARER)).headers
