"""GET /livez and /readyz for the kubelet, and /metrics for Prometheus.

Live: the loop turns, whatever the API server does; an outage must not become a crash loop. Ready: the last good pass is
recent.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from lmms_eval_operator.reconcile import PERIOD_SECONDS, Health

# The slowest step of the loop is one call to the API server, whose time-out is 15 s, or one wait of the same length.
LIVE_SECONDS: Final = 4 * PERIOD_SECONDS
READY_SECONDS: Final = 3 * PERIOD_SECONDS


def build_application(health: Health, render: Callable[[], bytes]) -> web.Application:
    """Return an application with the three routes; `render` returns the metrics."""

    async def livez(request: web.Request) -> web.Response:
        return _respond(health.clock() - health.beat_at, LIVE_SECONDS, "last beat of the loop")

    async def readyz(request: web.Request) -> web.Response:
        return _respond(health.clock() - health.good_at, READY_SECONDS, "last good pass")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def serve_probes(health: Health, render: Callable[[], bytes], port: int) -> AsyncIterator[None]:
    """Serve the probes during the block, on all addresses, of both IP families where there are both."""
    runner = web.AppRunner(build_application(health, render), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _respond(age: float, limit: float, what: str) -> web.Response:
    text = f"{what}: {age:.1f} s ago" if age != float("inf") else f"{what}: never"
    return web.Response(text=text + "\n", status=200 if age < limit else 503)
