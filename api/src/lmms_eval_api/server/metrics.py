"""The Prometheus metrics of the front end, served as /metrics on a port of their own. docs/operations.md lists them.

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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from lmms_eval_api.auth.attributes import is_stream
from lmms_eval_api.retention.media_pool import PoolSize
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.limits import OpenStreams

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
NO_ROUTE: Final = "none"
BUCKET_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
REASONS: Final = (
    "unauthenticated",
    "forbidden",
    "cross_site",
    "host",
    "undecided",
    "requests",
    "submissions",
    "streams",
    "body",
)

# Without a second series for the creation time of each counter and histogram. The library does not annotate this
# function.
disable_created_metrics()  # type: ignore[no-untyped-call]


class CurrentGauges(Collector):
    """The gauges that are read at each scrape."""

    def __init__(self, backend: Backend, streams: OpenStreams) -> None:
        self._backend = backend
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges with their present values."""
        age, jobs = self._backend.reflector.lost_for(), len(self._backend.evaluations.cache)
        yield GaugeMetricFamily(
            "lmmseval_api_cache_age_seconds",
            "Seconds without a watch on the API server.",
            value=age,
        )
        yield GaugeMetricFamily("lmmseval_api_cached_jobs", "Evaluations in the cache.", value=jobs)
        yield GaugeMetricFamily(
            "lmmseval_api_open_streams",
            "Events and logs that are followed.",
            value=self._streams.count,
        )
        pool = self._backend.media_pool()
        if pool is not None and pool.is_known:
            yield from _describe_pool(pool)


def _describe_pool(pool: PoolSize) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "lmmseval_api_media_pool_bytes", "Of the media that are kept, at the last sweep.", pool.bytes
    )
    yield GaugeMetricFamily("lmmseval_api_media_pool_files", "Media that are kept, at the last sweep.", pool.files)
    yield GaugeMetricFamily("lmmseval_api_media_pool_limit_bytes", "Of media that may be kept; 0: any.", pool.budget)
    yield CounterMetricFamily(
        "lmmseval_api_media_evicted", "Media that were deleted because there were more than may be kept.", pool.evicted
    )


class ApiMetrics:
    """All metrics, in a registry of their own."""

    def __init__(self, backend: Backend, streams: OpenStreams) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(CurrentGauges(backend, streams))
        ProcessCollector(registry=self.registry)
        build = Gauge("lmmseval_api_build_info", "1, labelled with the version.", ["version"], registry=self.registry)
        build.labels(version("lmms-eval-api")).set(1)
        self._seconds = Histogram(
            "lmmseval_api_request_seconds",
            "Requests that were answered; streams are left out.",
            ["route", "method", "status"],
            buckets=BUCKET_SECONDS,
            registry=self.registry,
        )
        self._series_by_key: dict[tuple[str, str, int], Histogram] = {}
        self._rejected = Counter(
            "lmmseval_api_rejected_total", "Requests that reached no route.", ["reason"], registry=self.registry
        )
        # Exported from the start, so that the first one is an increase.
        for reason in REASONS:
            self._rejected.labels(reason)

    def record_response(self, scope: Scope, *, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        reason = scope["state"].get("rejected")
        if reason is not None:
            self._rejected.labels(reason).inc()
        route = find_route(scope)
        if status >= 400 or not is_stream(scope["method"], route):
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._get_series(route, method, status // 100).observe(seconds)

    def _get_series(self, route: str, method: str, status: int) -> Histogram:
        """Return the child of these labels. Cached, as `labels` converts all labels to text and takes a lock."""
        key = (route, method, status)
        found = self._series_by_key.get(key)
        if found is None:
            found = self._series_by_key[key] = self._seconds.labels(route, method, f"{status}xx")
        return found

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)


def find_route(scope: Scope) -> str:
    """Return the template of the route that answered; one word for all requests that reached none."""
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) else NO_ROUTE


@asynccontextmanager
async def serve_metrics(metrics: ApiMetrics, port: int) -> AsyncIterator[None]:
    """Serve the metrics on all addresses, of both IP families where there are both; on port 0, not at all."""

    async def respond(request: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/metrics", respond)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        if port:
            await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()
