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
from lmms_eval_reporter.logs import Log
from lmms_eval_reporter.session import Session
from lmms_eval_reporter.settings import InvalidSettings, Settings

CANNOT_START: Final = 2


async def attend(settings: Settings, log: Log) -> None:
    """Runs until SIGTERM and what may follow it; Misconfigured if the store's settings make none."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = ObjectStore(settings.store)
    client = await transport.connect(namespace=settings.run.namespace, token_file=settings.token_file, ca_file=settings.ca_file)
    try:
        await Session(settings, store=store, client=client, stop=stop, log=log).attend()
    finally:
        await client.close()


def main() -> None:
    """What the image's entry point, `start`, goes on with. Exits 0 after SIGTERM, 2 where the settings make no sense."""
    try:
        settings = Settings.from_environment(os.environ)
        log = Log(evaluation=f"{settings.run.namespace}/{settings.run.name}", attempt=settings.run.attempt)
        asyncio.run(attend(settings, log))
    except (InvalidSettings, Misconfigured, ConfigurationError) as error:
        Log()("cannot start", error=str(error))
        sys.exit(CANNOT_START)
    # Without the interpreter's shutdown, in which obstore's threads may abort the process (see core.store.objects).
    sys.stderr.flush()
    os._exit(0)
