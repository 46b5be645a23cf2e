"""The watch by kopf: events of evaluations, Jobs and pods go to a sink. The only file that imports kopf.

kopf runs in a thread of its own, as it ends every task of its event loop when it stops. It stops for good when a watch
tells of an error, so it is started again, with a back-off; the reconciler's own lists bridge the gap. Only `on.event`
is used: no annotations, no finalizers, nothing decided here.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import kopf

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS, JOBS, PODS, Object, Resource
from lmms_eval_operator.observe import NOT_ENDED, OURS
from lmms_eval_operator.structured_log import log_fields

FIRST_BACKOFF: Final = 1.0
LAST_BACKOFF: Final = 30.0
CANCEL_SECONDS: Final = 0.5
CHUNK: Final = 500
IDLE_SECONDS: Final = 0.1
WATCHED: Final = (EVALUATIONS, JOBS, PODS)

# (resource, whether it was deleted, the object)
Sink = Callable[[Resource, bool, Object], None]

log = logging.getLogger(__name__)


class KopfWatch:
    """Feeds `sink` from kopf's thread, in the event loop that called `start`."""

    def __init__(self, namespace: str, sink: Sink) -> None:
        self._namespace = namespace
        self._sink = sink
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_kopf: Callable[[], object] = lambda: None

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self, seconds: float) -> None:
        """Ask kopf to stop and wait `seconds` for it; a thread that lingers ends with the process."""
        self._stopping.set()
        self._stop_kopf()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, seconds)

    def _run(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._stopping.is_set():
            began = time.monotonic()
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(self._operate())
            except Exception:
                # The outermost loop of this thread: kopf raises whatever ended its watches.
                log.warning("watching ended", exc_info=True)
            finally:
                # Not by asyncio.run, which waits for all tasks: some of kopf's do not end.
                loop.close()
            backoff = FIRST_BACKOFF if time.monotonic() - began > LAST_BACKOFF else min(backoff * 2, LAST_BACKOFF)
            if self._stopping.wait(backoff):
                return
            log.info("watching again", extra=log_fields(waited=backoff))

    async def _operate(self) -> None:
        """Run kopf until `stop`, or until one of its tasks fails, which ends it; raises what that raised.

        `kopf.operator` would then wait for its watchers, which wait for credentials from a task that has ended already.
        And the stop flag is one of this loop: for one of threads, kopf parks a thread that keeps the process from
        ending.
        """
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop_kopf = lambda: _call_in_loop(loop, stop.set)
        if self._stopping.is_set():
            return
        tasks = await kopf.spawn_tasks(
            registry=self._make_registry(), settings=_make_settings(), namespaces=[self._namespace], stop_flag=stop
        )
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=CANCEL_SECONDS)
        for task in done:
            task.result()

    def _make_registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(_login)
        for resource in WATCHED:
            kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(
                self._make_handler(resource)
            )
        return registry

    def _make_handler(self, resource: Resource) -> Callable[..., Any]:
        async def on_event(event: kopf.RawEvent, **_: Any) -> None:
            self._pass_on(resource, event["type"] == "DELETED", dict(event["object"]))

        return on_event

    def _pass_on(self, resource: Resource, deleted: bool, item: Object) -> None:
        if self._loop is not None:
            _call_in_loop(self._loop, self._sink, resource, deleted, item)


class Backoffs:
    """Seconds between attempts, without end: kopf gives up for good when they run out."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0), itertools.repeat(5.0))


class Undiffed(kopf.DiffBaseStorage):
    """Keeps nothing to compare with: nobody here asks what has changed, and the copies are a fifth of kopf's work."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        """Return nothing of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Return None, as if the object had never been seen."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Store nothing."""


def _call_in_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: Any) -> None:
    """Call in another thread's loop, if that is still open: at the end of the process the two close in no order."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


def _make_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = Backoffs()
    settings.watching.connect_timeout = 5
    settings.watching.server_timeout = 270
    # Ten thousand evaluations in one piece, each with a worker that keeps it for five seconds, were 350 MB.
    settings.watching.chunk_size = CHUNK
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.persistence.diffbase_storage = Undiffed()
    for resource in (JOBS, PODS):
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = OURS
    settings.watching.field_selectors[names.GROUP, names.VERSION, names.PLURAL] = NOT_ENDED
    return settings
