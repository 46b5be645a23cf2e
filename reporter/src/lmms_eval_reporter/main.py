"""Composition root of the sidecar: environment, connections and signals; everything else is `session`."""

import asyncio
import os
import signal
import sys
from typing import Final

from lmms_eval_core.kube import transport
from lmms_eval_core.kube.configuration import ConfigurationError
from lmms_eval_core.store.errors import Misconfigured
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.session import Session
from lmms_eval_reporter.settings import InvalidSettings, Settings

CANNOT_START: Final = 2


async def serve(settings: Settings, log: ReporterLog) -> None:
    """Run until SIGTERM and the publication that may follow it.

    Misconfigured if the store's settings describe no store.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = ObjectStore(settings.store)
    client = await transport.connect(
        namespace=settings.run.namespace, token_file=settings.token_file, ca_file=settings.ca_file
    )
    try:
        await Session(settings, store=store, client=client, stop=stop, log=log).run()
    finally:
        await client.close()


def main() -> None:
    """Run the reporter; called by the image's entry point, `start`.

    Exits 0 after SIGTERM, 2 for settings that are invalid.
    """
    try:
        settings = Settings.from_environment(os.environ)
        log = ReporterLog(evaluation=f"{settings.run.namespace}/{settings.run.name}", attempt=settings.run.attempt)
        asyncio.run(serve(settings, log))
    except (InvalidSettings, Misconfigured, ConfigurationError) as error:
        ReporterLog()("cannot start", error=str(error))
        sys.exit(CANNOT_START)
    # Without the interpreter's shutdown, in which obstore's threads may abort the process (see core.store.objects).
    sys.stderr.flush()
    os._exit(0)
