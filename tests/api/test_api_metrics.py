"""What the front end counts, and that what it counts by is bounded."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from front_end_fixtures import FrontEnd, StartFrontEnd
from offline_application import BEARER, make_offline_application, make_offline_backend
from plain_http import NO_TLS
from ports import find_free_port
from prometheus_client.parser import text_string_to_metric_families

from lmms_eval_api.server.metrics import METHODS, NO_ROUTE, REASONS, ApiMetrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return make_offline_application(
        tmp_path, make_offline_backend(clock=lambda: 1000.0), requests_per_second=20, max_body_bytes=1000
    )


@pytest.fixture
def ask(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://front-end")


def samples(metrics: ApiMetrics) -> Samples:
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def value(metrics: ApiMetrics, name: str, **labels: str) -> float:
    return samples(metrics).get((name, frozenset(labels.items())), 0.0)


async def test_requests_by_route_method_and_class(app: FastAPI, ask: httpx.AsyncClient) -> None:
    async with ask:
        for path in ("/jobs/a", "/jobs/b", "/jobs/c/results"):
            await ask.get(path, headers=BEARER)
        await ask.get("/livez")
        await ask.request("BREW", "/pot", headers=BEARER)
    count = "lmmseval_api_request_seconds_count"
    assert value(app.state.metrics, count, route="/jobs/{job_id}", method="GET", status="5xx") == 2
    assert value(app.state.metrics, count, route="/livez", method="GET", status="2xx") == 1
    assert value(app.state.metrics, count, route=NO_ROUTE, method="other", status="4xx") == 1


async def test_rejections_by_their_reason(app: FastAPI, ask: httpx.AsyncClient) -> None:
    async with ask:
        await ask.get("/queue")
        await ask.get("/queue", headers={"Authorization": "Bearer wrong"})
        await ask.post("/evaluate", content=b"x" * 2000, headers=BEARER)
        for _ in range(60):
            await ask.get("/queue", headers=BEARER)
    found = {reason: value(app.state.metrics, "lmmseval_api_rejected_total", reason=reason) for reason in REASONS}
    assert (found["unauthenticated"], found["body"], found["forbidden"]) == (2, 1, 0)
    assert found["requests"] > 0


async def test_whatever_is_sent_the_number_of_series_stays(app: FastAPI, ask: httpx.AsyncClient) -> None:
    async with ask:
        for number in range(300):
            await ask.get(f"/nowhere/{number}", headers={"X-Request-ID": str(number), **BEARER})
            await ask.request(f"M{number}", f"/jobs/{number}?q={number}")
    found = samples(app.state.metrics)
    assert len(found) < 200
    for _, labels in found:
        for name, text in labels:
            assert name in {"route", "method", "status", "reason", "le", "version"}
            assert name != "method" or text in METHODS | {"other"}
            assert name != "status" or re.fullmatch("[1-5]xx", text)
            assert name != "reason" or text in REASONS


async def test_gauges_tell_of_cache_and_streams(app: FastAPI) -> None:
    assert value(app.state.metrics, "lmmseval_api_cache_age_seconds") == float("inf")
    assert value(app.state.metrics, "lmmseval_api_cached_jobs") == 0
    assert value(app.state.metrics, "lmmseval_api_open_streams") == 0


def test_every_metric_is_explained(app: FastAPI) -> None:
    page = PAGE.read_text()
    for family in app.state.metrics.registry.collect():
        if family.name.startswith("lmmseval_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert f"`{name}" in page, name


Start = Callable[..., FrontEnd]


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_they_are_served_on_a_port_of_their_own(start_front_end: StartFrontEnd) -> None:
    port = find_free_port()
    front_end = start_front_end(LMMS_EVAL_API_METRICS_PORT=str(port))
    front_end.wait_until_ready()
    with front_end.session() as session:
        assert session.get("/queue").status_code == 200
        assert session.get("/metrics").status_code == 404
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, verify=NO_TLS)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'lmmseval_api_request_seconds_count{method="GET",route="/queue",status="2xx"} 1.0' in answer.text
    assert "lmmseval_api_cache_age_seconds 0.0" in answer.text
    for path in ("/", "/queue", "/livez", "/openapi.json"):
        assert httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, verify=NO_TLS).status_code == 404
    assert front_end.stop() == 0
