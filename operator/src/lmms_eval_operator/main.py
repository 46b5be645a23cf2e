"""Composition root: settings, client, view, kopf's thread, the elector's, the reconciler and the probes; signals, exit
status.

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
from lmms_eval_operator import probes
from lmms_eval_operator.apply import Executor
from lmms_eval_operator.clock import ServerClock
from lmms_eval_operator.elector import Elector
from lmms_eval_operator.event_recorder import EventRecorder
from lmms_eval_operator.metered_client import MeteredClient
from lmms_eval_operator.metrics import OperatorMetrics
from lmms_eval_operator.observe import Observer, find_name
from lmms_eval_operator.reconcile import Health, Reconciler
from lmms_eval_operator.retention import Retention
from lmms_eval_operator.settings import InvalidSettings, Settings
from lmms_eval_operator.structured_log import configure_logging, log_fields
from lmms_eval_operator.transitions import Listener, log_move, notify_listeners
from lmms_eval_operator.view import View
from lmms_eval_operator.watch import KopfWatch, Sink

STOP_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def main() -> int:
    """Run the operator; return the exit status. Entry point of `lmms-eval-operator`."""
    try:
        settings = Settings.from_environment(os.environ)
        configure_logging(settings.log_level)
        gc.set_threshold(GARBAGE_THRESHOLD)
        return asyncio.run(serve(settings))
    except (InvalidSettings, ConfigurationError) as error:
        print(error, file=sys.stderr)
        return 2


async def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; return 0. Raises what ends the reconciler."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    view = View(concurrency=settings.concurrency)
    clock = ServerClock(now_utc)
    metrics = OperatorMetrics(view, leading=lambda: reconciler.term() > 0, time=clock.now)
    transport = await connect(namespace=settings.namespace, on_date=clock.read_date)
    client = MeteredClient(transport, metrics.record_request, time.monotonic)
    recorder = EventRecorder(
        client, instance=socket.gethostname(), clock=time.monotonic, time=clock.now, count=metrics.record_event
    )
    reconciler = compose_reconciler(
        client, settings, log_move, metrics.record_move, recorder.record_move, view=view, time_of_day=clock.now
    )
    reconciler.on_pass, reconciler.on_failure = metrics.record_pass, metrics.record_failure
    watch = KopfWatch(settings.namespace, make_sink(reconciler, metrics.record_watch_event))
    elector = make_elector(reconciler, settings)
    retention = Retention(
        client, max_finished=settings.max_finished, time=clock.now, leads=lambda: reconciler.term() > 0
    )
    try:
        async with (
            probes.serve_probes(reconciler.health, metrics.render, settings.probe_port),
            elector.stand_for_election() as campaign,
        ):
            log.info("serving", extra=log_fields(namespace=settings.namespace, slots=settings.concurrency))
            await run_until(
                stopping, reconciler.run(), start_watching(watch, retention, reconciler), recorder.run(), campaign
            )
    finally:
        await watch.stop(STOP_SECONDS)
        await client.close()
    log.info("stopped")
    return 0


async def start_watching(watch: KopfWatch, retention: Retention, reconciler: Reconciler) -> None:
    """Watch once the first list has succeeded: kopf looks for its resources once, and the CRD may be younger than we
    are.

    Retention begins then as well: it lists as many, and nothing waits for it.
    """
    await reconciler.listed.wait()
    watch.start()
    await retention.run()


async def run_until(stopping: asyncio.Event, *work: Awaitable[None]) -> None:
    """Run all of `work` until `stopping` is set. Raises what the first part of it raises."""
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


def now_utc() -> datetime:
    """Return the time of day by this machine."""
    return datetime.now(UTC)


def compose_reconciler(
    client: KubeClient,
    settings: Settings,
    *listeners: Listener,
    view: View | None = None,
    time_of_day: Callable[[], datetime] = now_utc,
) -> Reconciler:
    """Put the parts that decide together; the tests do it the same way."""
    view = view or View(concurrency=settings.concurrency)
    clock = time.monotonic
    executor = Executor(
        client, view, settings, time=time_of_day, clock=clock, on_status_written=notify_listeners(*listeners)
    )
    return Reconciler(view, Observer(client, view), executor, clock, time_of_day, Health(clock))


def make_elector(reconciler: Reconciler, settings: Settings) -> Elector:
    """Return this process's elector: the reconciler asks it for the term, and is woken when one begins."""
    loop, health = asyncio.get_running_loop(), reconciler.health

    def wake_reconciler() -> None:
        loop.call_soon_threadsafe(reconciler.elected.set)
        loop.call_soon_threadsafe(reconciler.wake.set)

    elector = Elector(
        # A name of this very process: the pod's alone would let a container that was started again take itself for the
        # old one.
        f"{socket.gethostname()}_{secrets.token_hex(4)}",
        partial(connect, namespace=settings.namespace),
        alive=lambda: health.clock() - health.beat_at < probes.LIVE_SECONDS,
        on_elected=wake_reconciler,
        clock=reconciler.clock,
    )
    reconciler.term = elector.term
    return elector


def make_sink(reconciler: Reconciler, on_event: Callable[[], None]) -> Sink:
    """Return what a watch calls for each event: it updates the view and, if that is news, wakes the reconciler."""

    def learn(resource: Resource, deleted: bool, item: Object) -> None:
        on_event()
        try:
            news = reconciler.view.learn(resource, deleted, item)
        except Exception:
            log.exception("cannot read an object", extra=log_fields(resource=resource.plural, item=find_name(item)))
            reconciler.on_failure("Learn", "defect")
        else:
            if news:
                reconciler.wake.set()

    return learn
