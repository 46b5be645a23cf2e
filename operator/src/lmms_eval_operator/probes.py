"""GET /livez and /readyz for the kubelet. Metrics will be served here too.

Live: the loop turns, whatever the API server does; an outage must not become a crash loop. Ready: the last good pass is
recent.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from lmms_eval_operator.reconcile import PERIOD_SECONDS, Health

# The slowest step of the loop is one call to the API server, whose time-out is 15 s, or one wait of the same length.
LIVE_SECONDS: Final = 4 * PERIOD_SECONDS
READY_SECONDS: Final = 3 * PERIOD_SECONDS


def application(health: Health) -> web.Application:
    """The two routes."""

    async def livez(request: web.Request) -> web.Response:
        return _answer(health.clock() - health.beat_at, LIVE_SECONDS, "last beat of the loop")

    async def readyz(request: web.Request) -> web.Response:
        return _answer(health.clock() - health.good_at, READY_SECONDS, "last good pass")

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    return app


@asynccontextmanager
async def serving(health: Health, port: int) -> AsyncIterator[None]:
    """Serves the probes on all addresses, of both IP families where there are both."""
    runner = web.AppRunner(application(health), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def _answer(age: float, limit: float, what: str) -> web.Response:
    said = f"{what}: {age:.1f} s ago" if age != float("inf") else f"{what}: never"
    return web.Response(text=said + "\n", status=200 if age < limit else 503)
