"""The process: settings, the cluster, the watch and the server; nothing else is made here."""

import asyncio
import logging
import os
import signal
import sys
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from lmms_eval_api import auth, logs
from lmms_eval_api.app import application
from lmms_eval_api.cache import JobCache
from lmms_eval_api.evaluations import Evaluations
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.settings import Settings, SettingsError, from_environment
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.reflector import Reflector

# Longer than clients and proxies keep an idle connection, so that the server is not the one to close it under a request.
KEEP_ALIVE_SECONDS: Final = 75

log = logging.getLogger(__name__)


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    try:
        settings = from_environment(os.environ)
        authenticator = auth.authenticator(settings)
    except SettingsError as error:
        sys.exit(f"lmms-eval-api: {error}")
    logs.configure(settings.log_level)
    # uvicorn raises the signal again when it has shut down; that must not kill us with the signal's exit code.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    asyncio.run(serve(settings, authenticator))


async def serve(settings: Settings, authenticator: auth.Authenticator) -> None:
    """Watches and serves. An unknown error of the watch ends the server, and the process with it."""
    client = await transport.connect(namespace=settings.namespace)
    cache = JobCache()
    reflector = Reflector(client, EVALUATIONS, cache, log=log.warning)
    backend = Backend(Evaluations(client, cache), reflector, settings.max_stale_seconds)
    server = uvicorn.Server(server_config(settings, application(settings, backend, authenticator)))
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(reflector.run())
            await server.serve()
            watch.cancel()
    finally:
        await client.close()


def server_config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    """How the server listens. Addresses in proxy headers are believed by nobody; our own log has the requests."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
