"""The process: reads the settings, and makes the clients, the cache, the background tasks and the server."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final, NoReturn

import uvicorn
import uvloop
from starlette.types import ASGIApp

from lmms_eval_api import auth
from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.worker import Worker
from lmms_eval_api.catalogue.reader import CatalogueReader
from lmms_eval_api.jobs.cache import JobCache
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import JobFeeds
from lmms_eval_api.retention.media_pool import MediaPool
from lmms_eval_api.retention.orphans import Sweeping
from lmms_eval_api.retention.sweeper import Sweeper, SweepSettings
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server import connections, metrics, tls
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, SettingsError
from lmms_eval_core import jsonlog, layout
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS, KubeClient
from lmms_eval_core.kube.configuration import ConfigurationError
from lmms_eval_core.kube.reflector import Reflector
from lmms_eval_core.phases import Phase
from lmms_eval_core.store.errors import Misconfigured
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import ENV_URL, StoreSettings

# Longer than clients and proxies keep an idle connection, so that the server never closes one under a request.
KEEP_ALIVE_SECONDS: Final = 75
# Two selectors that list the evaluations in two halves, where many are kept.
SHARES: Final = (f"status.phase={Phase.COMPLETED}", f"status.phase!={Phase.COMPLETED}")

log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Serve until SIGTERM or SIGINT."""
    try:
        settings = ApiSettings.from_environment(os.environ)
        store = open_store(os.environ)
        jsonlog.configure(settings.log_level)
        # uvicorn raises the signal again after its shutdown; it must not end the process with the signal's exit code.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        gc.set_threshold(transport.GARBAGE_THRESHOLD)
        uvloop.run(serve(settings, store))
    except (SettingsError, Misconfigured, ConfigurationError) as error:
        sys.exit(f"lmms-eval-api: {error}")
    # Without the interpreter's shutdown, in which obstore's threads may abort the process (see core.store.objects).
    sys.stderr.flush()
    os._exit(0)


def open_store(environ: Mapping[str, str]) -> ObjectStore | None:
    """Return the store that the environment names, if it names one. Raises Misconfigured."""
    return ObjectStore(StoreSettings.from_environment(environ)) if environ.get(ENV_URL) else None


class FrontEndServer(uvicorn.Server):
    """Calls `on_stop` when it begins to stop: it then waits for open responses, and a stream would never end."""

    def __init__(self, config: uvicorn.Config, *, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._on_stop)


async def serve(settings: ApiSettings, store: ObjectStore | None) -> None:
    """Watch, serve and sweep. An unknown error of the watch ends the server, and the process with it."""
    client = await transport.connect(namespace=settings.namespace)
    cache = JobCache()
    reflector = Reflector(
        client,
        EVALUATIONS,
        cache,
        cache.project,
        shares=SHARES,
        log=log.warning,
        restored=cache.forget,
    )
    worker = Worker()
    archive = Archive(client, store, settings, worker)
    pool = make_media_pool(client, store, settings, archive)
    sweeper = Sweeper(client, store, make_sweep_settings(settings), pool) if store is not None and pool else None
    catalogue = CatalogueReader(store, worker, namespace=client.namespace, image=settings.catalogue)
    backend = Backend(
        EvaluationService(client, cache),
        reflector,
        JobFeeds(cache),
        archive,
        settings.max_stale_seconds,
        cancels_running=settings.cancel_running,
        catalogue=catalogue,
        sweeping=lambda: sweeper.state if sweeper is not None else Sweeping.OFF,
        media_pool=lambda: pool.size if pool is not None else None,
    )
    try:
        authenticator = auth.make_authenticator(settings, client)
        make_ssl_context = tls.make_context_factory(settings.tls) if settings.tls is not None else None
        async with asyncio.TaskGroup() as group:
            services = [service for service in (reflector, backend.feeds, catalogue, sweeper) if service is not None]
            background_tasks = [group.create_task(service.run()) for service in services]
            # In a thread, as both take a third of a second, in which the API server works on the list.
            app = await asyncio.to_thread(make_application, settings, backend, authenticator)
            await asyncio.to_thread(app.openapi)
            server = FrontEndServer(make_server_config(settings, app, make_ssl_context), on_stop=backend.stop)
            async with metrics.serve_metrics(app.state.metrics, settings.metrics_port):
                await server.serve()
            for task in background_tasks:
                task.cancel()
    finally:
        await client.close()


def make_media_pool(
    client: KubeClient, store: ObjectStore | None, settings: ApiSettings, archive: Archive
) -> MediaPool | None:
    """Return the pool of media, as the sweeper sees it."""
    if store is None or archive.media_journals is None:
        return None
    return MediaPool(store, client.namespace, archive.media_journals.read_shown, budget=settings.media_bytes)


def make_sweep_settings(settings: ApiSettings) -> SweepSettings:
    """Return the settings of the sweeper."""
    return SweepSettings(
        deletes=settings.sweep,
        interval=settings.sweep_interval_seconds,
        grace=settings.sweep_grace_seconds,
        catalogue=layout.catalogue_file(settings.catalogue),
    )


def make_server_config(
    settings: ApiSettings, app: ASGIApp, make_ssl_context: tls.ContextFactory | None
) -> uvicorn.Config:
    """Return how uvicorn listens: proxy headers are not trusted, and requests are in our own log."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        http=connections.make_protocol(request_seconds=settings.request_seconds),
        ws="none",
        ssl_context_factory=make_ssl_context,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
