"""What Prometheus reads of the front end, at /metrics on a port of its own. docs/operations.md lists the metrics.

Labels are bounded: templates of routes, methods, classes of status, reasons; never a path, a caller or a job.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import Scope

from lmms_eval_api.auth.attributes import is_stream
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.limits import OpenStreams

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
NO_ROUTE: Final = "none"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
REASONS: Final = ("unauthenticated", "forbidden", "undecided", "requests", "submissions", "streams", "body")

# A second series beside each counter and histogram, for when it was made, that nobody asks for. The library gives it no types.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Board(Collector):
    """The gauges that are read when somebody looks."""

    def __init__(self, backend: Backend, streams: OpenStreams) -> None:
        self._backend = backend
        self._streams = streams

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One look."""
        age, jobs = self._backend.reflector.lost_for(), len(self._backend.evaluations.cache)
        yield GaugeMetricFamily("lmmseval_api_cache_age_seconds", "Seconds without a watch on the API server.", value=age)
        yield GaugeMetricFamily("lmmseval_api_cached_jobs", "Evaluations in the cache.", value=jobs)
        yield GaugeMetricFamily("lmmseval_api_open_streams", "Events and logs that are followed.", value=self._streams.count)


class Metrics:
    """All of them, in a registry of their own."""

    def __init__(self, backend: Backend, streams: OpenStreams) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Board(backend, streams))
        ProcessCollector(registry=self.registry)
        build = Gauge("lmmseval_api_build_info", "1, labelled with the version.", ["version"], registry=self.registry)
        build.labels(version("lmms-eval-api")).set(1)
        self._seconds = Histogram(
            "lmmseval_api_request_seconds",
            "Requests that were answered; streams are left out.",
            ["route", "method", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._answered: dict[tuple[str, str, int], Histogram] = {}
        self._rejected = Counter(
            "lmmseval_api_rejected_total", "Requests that reached no route.", ["reason"], registry=self.registry
        )
        # Known from the start, so that the first one is an increase.
        for reason in REASONS:
            self._rejected.labels(reason)

    def answered(self, scope: Scope, *, status: int, seconds: float) -> None:
        """One request has been answered."""
        reason = scope["state"].get("rejected")
        if reason is not None:
            self._rejected.labels(reason).inc()
        route = route_of(scope)
        if status >= 400 or not is_stream(scope["method"], route):
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._series(route, method, status // 100).observe(seconds)

    def _series(self, route: str, method: str, status: int) -> Histogram:
        """`labels` makes texts of all labels and takes a lock; the same few series are asked for again and again."""
        key = (route, method, status)
        found = self._answered.get(key)
        if found is None:
            found = self._answered[key] = self._seconds.labels(route, method, f"{status}xx")
        return found

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)


def route_of(scope: Scope) -> str:
    """The template of the route that answered; one word for all requests that reached none."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else NO_ROUTE


@asynccontextmanager
async def serving(metrics: Metrics, port: int) -> AsyncIterator[None]:
    """Serves them on all addresses, of both IP families where there are both; on port 0, not at all."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/metrics", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        if port:
            await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
