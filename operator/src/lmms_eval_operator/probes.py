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


def application(health: Health, render: Callable[[], bytes]) -> web.Application:
    """The three routes; `render` gives the metrics."""

    async def livez(request: web.Request) -> web.Response:
        return _answer(health.clock() - health.beat_at, LIVE_SECONDS, "last beat of the loop")

    async def readyz(request: web.Request) -> web.Response:
        return _answer(health.clock() - health.good_at, READY_SECONDS, "last good pass")

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


@asynccontextmanager
async def serving(health: Health, render: Callable[[], bytes], port: int) -> AsyncIterator[None]:
    """Serves them on all addresses, of both IP families where there are both."""
    runner = web.AppRunner(application(health, render), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _answer(age: float, limit: float, what: str) -> web.Response:
    said = f"{what}: {age:.1f} s ago" if age != float("inf") else f"{what}: never"
    return web.Response(text=said + "\n", status=200 if age < limit else 503)
