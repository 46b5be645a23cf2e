"""Composition root: settings, client, view, kopf's thread, the reconciler and the probes; signals and the exit status.

A leader election would stand between the watch, which runs warm in every replica, and the reconciler.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from lmms_eval_core.kube.client import KubeClient, Object, Resource
from lmms_eval_core.kube.transport import connect
from lmms_eval_operator import logs, probes
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.events import Recorder
from lmms_eval_operator.metered import Metered
from lmms_eval_operator.metrics import Metrics
from lmms_eval_operator.observe import Observer
from lmms_eval_operator.reconcile import Health, Reconciler
from lmms_eval_operator.settings import InvalidSettings, Settings
from lmms_eval_operator.transitions import Listener, log_move, tell
from lmms_eval_operator.view import View
from lmms_eval_operator.watch import Sink, Watch

STOP_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def main() -> int:
    """Entry point of `lmms-eval-operator`."""
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(settings.log_level)
    return asyncio.run(serve(settings))


async def serve(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until the reconciler dies (the exception)."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    view = View(concurrency=settings.concurrency)
    metrics = Metrics(view, leading=lambda: True, time=utc)
    client = Metered(await connect(namespace=settings.namespace), metrics.answered, time.monotonic)
    recorder = Recorder(client, instance=socket.gethostname(), clock=time.monotonic, time=utc, count=metrics.recorded)
    reconciler = compose(client, settings, log_move, metrics.told, recorder.told, view=view)
    reconciler.passed = metrics.passed
    watch = Watch(settings.namespace, sink(reconciler, metrics.heard))
    try:
        async with probes.serving(reconciler.health, metrics.render, settings.probe_port):
            log.info("serving", extra=logs.keys(namespace=settings.namespace, slots=settings.concurrency))
            await until(stopping, reconciler.run(), begin(watch, reconciler), recorder.run())
    finally:
        await watch.stop(STOP_SECONDS)
        await client.close()
    log.info("stopped")
    return 0


async def begin(watch: Watch, reconciler: Reconciler) -> None:
    """Watches once the first list has succeeded: kopf looks for its resources once, and the CRD may be younger than we are."""
    await reconciler.listed.wait()
    watch.start()


async def until(stopping: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
    """Does the work until `stopping` is set. Raises what the first part of it raises."""
    stop = asyncio.create_task(stopping.wait())
    tasks = {asyncio.create_task(part) for part in work}
    pending = tasks
    try:
        while pending and not stop.done():
            done, _ = await asyncio.wait({stop, *pending}, return_when=asyncio.FIRST_COMPLETED)
            pending = {task for task in pending if task not in done}
            for task in done - {stop}:
                task.result()
    finally:
        for task in (stop, *tasks):
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)


def compose(client: KubeClient, settings: Settings, *listeners: Listener, view: View | None = None) -> Reconciler:
    """The parts that decide, put together; the tests do it the same way."""
    view = view or View(concurrency=settings.concurrency)
    clock = time.monotonic
    executor = Executor(client, view, settings, time=utc, clock=clock, told=tell(*listeners))
    return Reconciler(view, Observer(client, view), executor, clock, utc, Health(clock))


def utc() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def sink(reconciler: Reconciler, heard: Callable[[], None]) -> Sink:
    """Where a watch's events go: into the view and, if they tell something new, as a wake-up to the reconciler."""

    def learn(resource: Resource, deleted: bool, item: Object) -> None:
        heard()
        if reconciler.view.learn(resource, deleted, item):
            reconciler.wake.set()

    return learn
