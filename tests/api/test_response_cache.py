"""Responses that are kept are those that the routes would make, and pass by everything that a request passes by."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from evaluation_objects import build_evaluation_object
from fastapi import FastAPI
from offline_application import BEARER, make_offline_application, make_offline_backend

from lmms_eval_api.auth.tokens import CHECK_SECONDS
from lmms_eval_api.catalogue.reader import CatalogueReader
from lmms_eval_api.jobs.job_info import make_job_info
from lmms_eval_api.jobs.snapshot import JobSnapshot, make_snapshot
from lmms_eval_api.routes import jobs
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.response_cache import ALL_BYTES, MAX_BYTES, ResponseCache
from lmms_eval_core.catalogue import Catalogue, KnownTask, TaskKind
from lmms_eval_core.layout import catalogue_file
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import ENV_URL, StoreSettings
from lmms_eval_core.wire import JobInfo

NAMES = [f"job-{number}" for number in range(6)]


@pytest.fixture
def backend() -> Backend:
    made = make_offline_backend()
    made.evaluations.cache.replace([make_snapshot(build_evaluation_object(name)) for name in NAMES])
    made.reflector._watching = True
    return made


@pytest.fixture
def app(backend: Backend, tmp_path: Path) -> FastAPI:
    return make_offline_application(tmp_path, backend)


@pytest.fixture
async def session(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://front-end", headers=BEARER
    ) as client:
        yield client


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs whose answers a route has made."""
    names: list[str] = []

    def counted(job: JobSnapshot, *, position: int | None) -> JobInfo:
        names.append(job.name)
        return make_job_info(job, position=position)

    monkeypatch.setattr(jobs, "make_job_info", counted)
    return names


def middleware(app: FastAPI) -> ResponseCache:
    layer = app.middleware_stack
    while not isinstance(layer, ResponseCache):
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


async def test_a_token_that_is_taken_away_reads_nothing_that_is_kept(
    session: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (await session.get("/jobs/job-3")).status_code == 200
    (tmp_path / "tests").unlink()
    await asyncio.sleep(CHECK_SECONDS + 0.1)
    assert (await session.get("/jobs/job-3")).status_code == 401


async def test_limits_hold_for_what_is_kept(tmp_path: Path, backend: Backend) -> None:
    app = make_offline_application(tmp_path, backend, requests_per_second=1)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://front-end", headers=BEARER
    ) as session:
        assert [(await session.get("/jobs/job-3")).status_code for _ in range(3)] == [200, 200, 429]


async def test_every_request_has_an_id_a_line_of_log_and_is_counted(
    app: FastAPI, session: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="lmms_eval_api.access")
    answers = [await session.get("/jobs/job-3") for _ in range(3)]
    answers.append(await session.get("/jobs/job-3", headers={"X-Request-ID": "mine"}))
    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert len(set(ids)) == 4
    assert ids[3] == "mine"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["request_id"] for line in lines] == ids
    for line in lines:
        told = {key: line[key] for key in ("event", "level", "method", "path", "status", "caller", "rejected")}
        expected = {"event": "request", "level": "info", "method": "GET", "path": "/jobs/job-3", "status": 200}
        assert told == expected | {"caller": "tests", "rejected": None}
        assert line["milliseconds"] >= 0
    series = 'lmmseval_api_request_seconds_count{method="GET",route="/jobs/{job_id}",status="2xx"} 4.0'
    assert series in app.state.metrics.render().decode()


async def test_other_methods_and_conditions_are_the_routes_to_answer(session: httpx.AsyncClient) -> None:
    async def statuses() -> list[int]:
        head, put = await session.head("/jobs/job-3"), await session.put("/jobs/job-3")
        known = await session.get("/jobs/job-3", headers={"If-None-Match": "*"})
        return [head.status_code, put.status_code, known.status_code]

    before = await statuses()
    await session.get("/jobs/job-3")
    assert await statuses() == before == [405, 405, 200]


async def test_a_value_is_kept_with_the_name_of_its_header(app: FastAPI) -> None:
    """A request without a Host, whose X-Forwarded-Proto reads like one, is shown links to the address
    that it came to.
    """
    odd = [(b"x-forwarded-proto", b"front-end")]
    usual = [(b"host", b"front-end")]
    for first, second in ((odd, usual), (usual, odd)):
        for headers in (first, second):
            base = "http://front-end/" if headers is usual else "http://192.0.2.7:8000/"
            assert (await raw(app, "/jobs/job-3", headers))["links"]["self"] == f"{base}jobs/job-3"
    for headers in ([], odd):
        for server in ("192.0.2.7", "192.0.2.8"):
            found = await raw(app, "/jobs/job-3", headers, server=server)
            assert found["links"]["self"] == f"http://{server}:8000/jobs/job-3"


async def raw(app: FastAPI, path: str, headers: list[tuple[bytes, bytes]], server: str = "192.0.2.7") -> dict[str, Any]:
    """The answer to a request that no client would send."""
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.0", "method": "GET"}
    scope |= {
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "state": {},
    }
    scope |= {"headers": [(b"authorization", b"Bearer secret"), *headers], "client": None, "server": (server, 8000)}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
    return found


async def test_what_changes_elsewhere_leaves_what_is_kept(
    session: httpx.AsyncClient, backend: Backend, made: list[str]
) -> None:
    await session.get("/jobs/job-3")
    backend.evaluations.cache.learn(build_evaluation_object("job-5", priority=-1))
    assert (await session.get("/jobs/job-3")).json()["position_in_queue"] == 3
    assert made == ["job-3"]
    backend.evaluations.cache.learn(build_evaluation_object("job-4", priority=1))
    assert (await session.get("/jobs/job-3")).json()["position_in_queue"] == 4
    assert made == ["job-3"] * 2


async def test_the_list_of_tasks_is_kept_until_there_is_another(tmp_path: Path, backend: Backend) -> None:
    file = tmp_path / "store" / "team" / catalogue_file("00")
    file.parent.mkdir(parents=True)
    store = ObjectStore(StoreSettings.from_environment({ENV_URL: f"file://{tmp_path / 'store'}"}))
    catalogue = CatalogueReader(store, namespace="team", image="00")
    (tmp_path / "tokens").mkdir()
    app = make_offline_application(tmp_path / "tokens", replace(backend, catalogue=catalogue))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://front-end", headers=BEARER
    ) as session:
        for names in ([], ["mme"], ["mme", "mmmu"]):
            if names:
                tasks = [KnownTask(name=name, kind=TaskKind.TASK) for name in names]
                file.write_text(Catalogue(tasks=tasks, models=[]).to_json())
            await catalogue.refresh(store)
            made, kept = [await session.get("/tasks") for _ in range(2)]
            assert made.json()["tasks"] == names
            assert (made.content, _facts(made)) == (kept.content, _facts(kept))
            assert "Age" not in kept.headers
            same = await session.get("/tasks", headers={"If-None-Match": kept.headers["ETag"]})
            assert (same.status_code, same.content) == (304, b"")
            assert (await session.get("/tasks", params={"q": "mmmu"})).json()["tasks"] == names[1:]
    assert ("/tasks",) in middleware(app)._kept


def _facts(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


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
    backend.reflector._record_version(str(version - 1))
    await session.get("/jobs/job-3")
    cookie = {"Cookie": f"other=1; lmms_eval_version={version}"}
    asked = asyncio.create_task(session.get("/jobs/job-3", headers=cookie))
    await asyncio.sleep(0.05)
    assert not asked.done()
    backend.reflector._record_version(str(version))
    await asked
    assert made == ["job-3"] * 2
    await session.get("/jobs/job-3", headers=cookie)
    assert made == ["job-3"] * 2


async def test_what_has_ended_is_looked_up_as_its_files_may_come_and_go(
    session: httpx.AsyncClient, backend: Backend, made: list[str]
) -> None:
    backend.evaluations.cache.learn(build_evaluation_object("job-3", phase="Completed"))
    for _ in range(2):
        await session.get("/jobs/job-3")
    assert made == ["job-3"] * 2


async def test_nothing_is_told_when_the_watch_is_lost_for_long(session: httpx.AsyncClient, backend: Backend) -> None:
    await session.get("/queue")
    backend.reflector._watching = False
    assert (await session.get("/queue")).status_code == 503


async def test_memory_is_bounded(app: FastAPI, session: httpx.AsyncClient, backend: Backend) -> None:
    await session.get("/queue")
    kept = middleware(app)._kept
    response = replace(next(iter(kept.values())), body=b"x" * MAX_BYTES)
    most = ALL_BYTES // MAX_BYTES
    for number in range(2 * most):
        for _ in range(2):
            middleware(app)._keep((f"/jobs/{number}",), response)
    assert list(kept) == [(f"/jobs/{number}",) for number in range(most, 2 * most)]
    middleware(app)._keep(("/jobs/large",), replace(response, body=b"x" * (MAX_BYTES + 1)))
    assert ("/jobs/large",) not in kept


async def test_after_any_change_the_answer_is_the_one_that_a_route_makes(
    session: httpx.AsyncClient, backend: Backend
) -> None:
    cache, chance = backend.evaluations.cache, random.Random(7)
    for step in range(150):
        name = chance.choice(NAMES)
        phase = chance.choice(["Queued", "Queued", "Running", "Completed", "Failed", "Cancelled", "gone"])
        if phase == "gone" and (known := cache.get(name)):
            cache.remove(known)
        elif phase != "gone":
            uid = f"{name}-{step}" if cache.get(name) is None else cache.get(name).uid  # type: ignore[union-attr]  # checked
            cache.learn(build_evaluation_object(name, phase=phase, uid=uid, priority=chance.randrange(3)))
        for asked in filter(cache.get, NAMES):
            kept = await session.get(f"/jobs/{asked}")
            anew = await session.get(f"/jobs/{asked}", headers={"Host": f"host-{step}"})
            assert kept.text == anew.text.replace(f"host-{step}", "front-end")
        assert (await session.get("/queue")).content == cache.get_overview().response_body
