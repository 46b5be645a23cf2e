"""Composition root: settings, client, view, kopf's thread, the elector's, the reconciler and the probes; signals, exit status.

The watch runs in every replica; the reconciler writes in the one that was elected.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from lmms_eval_core.kube.client import KubeClient, Object, Resource
from lmms_eval_core.kube.configuration import ConfigurationError
from lmms_eval_core.kube.transport import GARBAGE_THRESHOLD, connect
from lmms_eval_operator import logs, probes
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.clock import ServerClock
from lmms_eval_operator.elector import Elector
from lmms_eval_operator.events import Recorder
from lmms_eval_operator.metered import Metered
from lmms_eval_operator.metrics import Metrics
from lmms_eval_operator.observe import Observer, name_of
from lmms_eval_operator.reconcile import Health, Reconciler
from lmms_eval_operator.retention import Retention
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
        logs.configure(settings.log_level)
        gc.set_threshold(GARBAGE_THRESHOLD)
        return asyncio.run(serve(settings))
    except (InvalidSettings, ConfigurationError) as error:
        print(error, file=sys.stderr)
        return 2


async def serve(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT (0), or until the reconciler dies (the exception)."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    view = View(concurrency=settings.concurrency)
    clock = ServerClock(utc)
    metrics = Metrics(view, leading=lambda: reconciler.term() > 0, time=clock.now)
    transport = await connect(namespace=settings.namespace, heard_date=clock.heard)
    client = Metered(transport, metrics.answered, time.monotonic)
    recorder = Recorder(client, instance=socket.gethostname(), clock=time.monotonic, time=clock.now, count=metrics.recorded)
    reconciler = compose(client, settings, log_move, metrics.told, recorder.told, view=view, time_of_day=clock.now)
    reconciler.passed, reconciler.failed = metrics.passed, metrics.failed
    watch = Watch(settings.namespace, sink(reconciler, metrics.heard))
    elector = candidate(reconciler, settings)
    retention = Retention(client, max_finished=settings.max_finished, time=clock.now, leads=lambda: reconciler.term() > 0)
    try:
        async with probes.serving(reconciler.health, metrics.render, settings.probe_port), elector.standing() as campaign:
            log.info("serving", extra=logs.keys(namespace=settings.namespace, slots=settings.concurrency))
            await until(stopping, reconciler.run(), begin(watch, retention, reconciler), recorder.run(), campaign)
    finally:
        await watch.stop(STOP_SECONDS)
        await client.close()
    log.info("stopped")
    return 0


async def begin(watch: Watch, retention: Retention, reconciler: Reconciler) -> None:
    """Watches once the first list has succeeded: kopf looks for its resources once, and the CRD may be younger than we are.

    Retention begins then as well: it lists as many, and nobody waits for it.
    """
    await reconciler.listed.wait()
    watch.start()
    await retention.run()


async def until(stopping: asyncio.Event, *work: Awaitable[None]) -> None:
    """Does the work until `stopping` is set. Raises what the first part of it raises."""
    stop = asyncio.create_task(stopping.wait())
    tasks = {asyncio.ensure_future(part) for part in work}
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


def utc() -> datetime:
    """The time of day by this machine."""
    return datetime.now(UTC)


def compose(
    client: KubeClient,
    settings: Settings,
    *listeners: Listener,
    view: View | None = None,
    time_of_day: Callable[[], datetime] = utc,
) -> Reconciler:
    """The parts that decide, put together; the tests do it the same way."""
    view = view or View(concurrency=settings.concurrency)
    clock = time.monotonic
    executor = Executor(client, view, settings, time=time_of_day, clock=clock, told=tell(*listeners))
    return Reconciler(view, Observer(client, view), executor, clock, time_of_day, Health(clock))


def candidate(reconciler: Reconciler, settings: Settings) -> Elector:
    """This process in the election: the reconciler asks it for the term, and is woken when one begins."""
    loop, health = asyncio.get_running_loop(), reconciler.health

    def won() -> None:
        loop.call_soon_threadsafe(reconciler.elected.set)
        loop.call_soon_threadsafe(reconciler.wake.set)

    elector = Elector(
        # A name of this very process: the pod's alone would let a container that was started again take itself for the old one.
        f"{socket.gethostname()}_{secrets.token_hex(4)}",
        partial(connect, namespace=settings.namespace),
        alive=lambda: health.clock() - health.beat_at < probes.LIVE_SECONDS,
        won=won,
        clock=reconciler.clock,
    )
    reconciler.term = elector.term
    return elector


def sink(reconciler: Reconciler, heard: Callable[[], None]) -> Sink:
    """Where a watch's events go: into the view and, if they tell something new, as a wake-up to the reconciler."""

    def learn(resource: Resource, deleted: bool, item: Object) -> None:
        heard()
        try:
            news = reconciler.view.learn(resource, deleted, item)
        except Exception:
            log.exception("cannot read an object", extra=logs.keys(resource=resource.plural, item=name_of(item)))
            reconciler.failed("Learn", "defect")
        else:
            if news:
                reconciler.wake.set()

    return learn
