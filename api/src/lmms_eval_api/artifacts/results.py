"""The results files of jobs, which are asked for again and again: each is read once for all who ask, and kept for a while."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from lmms_eval_api.artifacts.judge import Criteria, criteria
from lmms_eval_api.artifacts.places import Stored, tasks_of
from lmms_eval_api.artifacts.sanitise import sanitised
from lmms_eval_api.artifacts.store import READ_SECONDS, Store, within
from lmms_eval_core.run import MAX_RESULTS_BYTES
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable

KEPT_BYTES: Final = 32 * 1024 * 1024
# After a failure nobody waits for the store again before so many seconds.
PAUSE_SECONDS: Final = 5.0


class Results(NamedTuple):
    """A results file as JSON text, how its tasks are scored, and which tasks have samples."""

    text: bytes
    criteria: dict[str, Criteria]
    tasks: tuple[str, ...]


class ResultsCache:
    """Every method raises StoreError. A job's results never change once there are any, so that nothing has to be read again."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._clock = clock
        self._room = kept_bytes
        self._kept: OrderedDict[str, Results] = OrderedDict()
        self._running: dict[str, asyncio.Task[Results]] = {}
        self._pause_until = 0.0

    async def get(self, stored: Stored) -> Results:
        """The results; by one read, however many ask for them at once."""
        known = self._kept.get(stored.results)
        if known is not None:
            self._kept.move_to_end(stored.results)
            return known
        if self._clock() < self._pause_until:
            raise Unreachable("the object store did not answer a moment ago")
        # One caller who hangs up must not take the answer from the others.
        return await asyncio.shield(self._reading(stored))

    async def soon(self, stored: Stored, *, seconds: float) -> Results:
        """The same, and Unreachable rather than a longer wait: then for all who ask in the next seconds."""
        if stored.results in self._kept:
            return await self.get(stored)
        try:
            async with asyncio.timeout(seconds):
                return await self.get(stored)
        except TimeoutError:
            self._pause()
            raise Unreachable(f"the object store did not answer in {seconds:.0f} s") from None

    def _reading(self, stored: Stored) -> asyncio.Task[Results]:
        task = self._running.get(stored.results)
        if task is None:
            task = self._running[stored.results] = asyncio.create_task(self._read(stored))
            task.add_done_callback(lambda done: self._finish(stored.results, done))
        return task

    async def _read(self, stored: Stored) -> Results:
        text = await within(READ_SECONDS, self._store.get(stored.results, max_bytes=MAX_RESULTS_BYTES))
        tasks = stored.tasks
        if stored.truncated:
            tasks = await within(READ_SECONDS, all_tasks(self._store, stored))
        return await asyncio.to_thread(_results, text, tasks)

    def _finish(self, key: str, task: asyncio.Task[Results]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._keep(key, task.result())
        elif isinstance(error, StoreError) and not isinstance(error, ObjectMissing):
            self._pause()

    def _keep(self, key: str, results: Results) -> None:
        self._kept[key] = results
        while sum(len(kept.text) for kept in self._kept.values()) > self._room:
            self._kept.popitem(last=False)

    def _pause(self) -> None:
        self._pause_until = self._clock() + PAUSE_SECONDS


async def all_tasks(store: Store, stored: Stored) -> tuple[str, ...]:
    """Every task that has samples in the store, where the status has not the room to name them all."""
    prefix = stored.prefix.path
    return tasks_of(sorted([entry.key.removeprefix(prefix) async for entry in store.list(f"{prefix}samples")]))


def _results(text: bytes, tasks: tuple[str, ...]) -> Results:
    clean = sanitised(text)
    try:
        parsed: Any = json.loads(clean)
    except (ValueError, RecursionError) as error:
        raise StoreError("the results file is no JSON") from error
    return Results(clean, criteria(parsed if isinstance(parsed, dict) else {}), tasks)
