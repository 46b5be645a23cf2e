"""Stands for election on a Lease, in a thread with an event loop and a connection of its own: `election` says how.

A main loop that is busy therefore loses no lease, and one that hangs keeps none: its heartbeat is asked for before each
write.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

from lmms_eval_core import names
from lmms_eval_core.kube import errors, lease
from lmms_eval_core.kube.client import KubeClient, Object
from lmms_eval_operator.election import TIMING, Candidacy, Step, Timing
from lmms_eval_operator.structured_log import log_fields

LABELS: Final = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
# At the end: less than the others would wait, and than a process may take to stop.
RELEASE_SECONDS: Final = 1.0

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Elector:
    """One candidate. `connect` makes a client in the calling event loop, `alive` is whether the main loop has a recent
    heartbeat.

    `on_elected` is called at each election. All three are called in the elector's own thread.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[KubeClient]],
        *,
        alive: Callable[[], bool],
        on_elected: Callable[[], None],
        timing: Timing = TIMING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._on_elected = on_elected
        self._timing = timing
        self._clock = clock
        self._known = Candidacy(name, timing)
        self._client: KubeClient | None = None
        self._since = ""
        self._failing = False

    def term(self) -> int:
        """Return which term of ours it is, from 1 on; 0 while we do not lead. Any thread may call it."""
        known = self._known
        return known.term if known.is_leading(self._clock()) else 0

    @asynccontextmanager
    async def stand_for_election(self) -> AsyncIterator[asyncio.Future[None]]:
        """Stand for election until the end of the block, then give the lease back: end everything that writes before.

        The future is done only if the thread fails, and raises what that raised.
        """
        with _run_loop_in_thread() as loop:
            campaign = asyncio.run_coroutine_threadsafe(self._campaign(), loop)
            try:
                yield asyncio.wrap_future(campaign)
            finally:
                campaign.cancel()
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._leave(), loop))

    async def _campaign(self) -> None:
        self._client = await self._connect()
        while True:
            try:
                wait = await self._take_step(self._client)
                self._failing = False
            except (errors.KubeError, TimeoutError) as error:
                self._log_failure(error)
                wait = self._timing.retry
            await asyncio.sleep(wait)

    async def _take_step(self, client: KubeClient) -> float:
        """Take one step; return for how many seconds to wait after it."""
        if not self._known.elected:
            await self._look(client)
        step = self._known.decide(self._clock(), alive=self._alive())
        if step is Step.STAND_DOWN:
            self._stand_down()
        if step in (Step.ACQUIRE, Step.RENEW) and await self._claim(client):
            return self._timing.renew
        return self._timing.retry

    async def _look(self, client: KubeClient) -> None:
        record = await self._call_in_time(lease.read(client, names.OPERATOR_LEASE, LABELS))
        before, self._known = self._known.record, self._known.after_read(record, self._clock())
        if record.holder not in ("", self._known.me, before.holder):
            log.info("standing by", extra=log_fields(leader=record.holder))

    async def _claim(self, client: KubeClient) -> bool:
        """Write the record; return whether that succeeded."""
        sent_at = self._clock()
        try:
            record = await self._call_in_time(lease.write(client, self._known.record, {"/spec": self._build_spec()}))
        except errors.Conflict:
            # Another was faster, or a person changed a label, or our last write was done though its answer was lost.
            await self._look(client)
            return False
        before, self._known = self._known, self._known.after_write(record, sent_at=sent_at)
        if self._known.term != before.term:
            log.info("leading", extra=log_fields(leader=self._known.me, term=self._known.term))
            self._on_elected()
        return True

    def _build_spec(self) -> Object:
        now = _format_micro_time()
        if not self._known.elected:
            self._since = now
        return {
            "holderIdentity": self._known.me,
            "leaseDurationSeconds": round(self._timing.lease),
            "acquireTime": self._since,
            "renewTime": now,
        }

    def _stand_down(self) -> None:
        known, self._known = self._known, self._known.after_standing_down()
        taken = "" if known.is_holder else known.record.holder
        cause = (
            "another leads"
            if not known.is_holder
            else "no renewal succeeded"
            if self._alive()
            else "the main loop is dead"
        )
        log.warning("stood down", extra=log_fields(cause=cause, leader=taken, term=known.term))

    def _log_failure(self, error: Exception) -> None:
        # An outage is logged once: the reconciler logs it as well.
        level = logging.DEBUG if self._failing else logging.WARNING
        log.log(level, "the election gets no answer", extra=log_fields(cause=str(error) or "time-out"))
        self._failing = True

    async def _leave(self) -> None:
        self._known = self._known.after_standing_down()
        if self._client is None:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._release(self._client)
        except (errors.KubeError, TimeoutError) as error:
            log.warning(
                "the lease runs out instead of being given back", extra=log_fields(cause=str(error) or "time-out")
            )
        finally:
            await self._client.close()

    async def _release(self, client: KubeClient) -> None:
        record = await lease.read(client, names.OPERATOR_LEASE, LABELS)
        while record.holder == self._known.me:
            try:
                record = await lease.swap(client, record, "")
            except errors.Conflict:
                # A renewal was under way when we stopped.
                record = await lease.read(client, names.OPERATOR_LEASE, LABELS)

    async def _call_in_time(self, call: Awaitable[Result]) -> Result:
        async with asyncio.timeout(self._timing.call):
            return await call


@contextmanager
def _run_loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="elector", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _format_micro_time() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
