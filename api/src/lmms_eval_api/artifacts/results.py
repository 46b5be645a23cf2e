"""The results files of jobs, which are asked for again and again: each is read once for all who ask, and kept for a while."""

import asyncio
import pickle
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.judge import Criteria, criteria
from lmms_eval_api.artifacts.places import Stored, tasks_of
from lmms_eval_api.artifacts.store import READ_SECONDS, Store, Unusable, within
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core import layout
from lmms_eval_core.json_text import normalised
from lmms_eval_core.results_file import InvalidResults, parse_results
from lmms_eval_core.run import MAX_RESULTS_BYTES, MAX_SAMPLE_FILES
from lmms_eval_core.store.errors import ObjectMissing, StoreError, TooLarge, Unreachable

KEPT_BYTES: Final = 32 * 1024 * 1024
# Besides its content, an entry is an object, a key and a place in the order.
ENTRY_BYTES: Final = 1024
# Files that are in memory on their way, each twice.
READS_AT_ONCE: Final = 2
# After a failure nobody waits for the store again before so many seconds.
PAUSE_SECONDS: Final = 5.0


class Results(NamedTuple):
    """A results file as JSON text, how its tasks are scored, and which tasks have samples.

    The criteria stand there task by task, each still packed: twenty thousand objects are more than their text.
    """

    text: bytes
    criteria: dict[str, bytes]
    tasks: tuple[str, ...]

    def scoring(self, task: str) -> Criteria | None:
        """How the samples of a task are scored, if the file says so."""
        packed = self.criteria.get(layout.segment(task))
        found: Criteria | None = pickle.loads(packed) if packed is not None else None
        return found

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return _size([self, self.text, self.criteria, *self.criteria, *self.criteria.values(), self.tasks, *self.tasks])


class ResultsCache:
    """Every method raises StoreError. A job's results never change once there are any, so that nothing has to be read again."""

    def __init__(
        self, store: Store, worker: Worker, *, clock: Callable[[], float] = time.monotonic, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._free = kept_bytes
        self._kept: OrderedDict[str, Results | Unusable] = OrderedDict()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._running: dict[str, asyncio.Task[Results]] = {}
        self._pause_until = 0.0

    async def get(self, stored: Stored) -> Results:
        """The results; by one read, however many ask for them at once."""
        known = self._kept.get(stored.results)
        if known is not None:
            self._kept.move_to_end(stored.results)
            return _usable(known)
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
        async with self._reads:
            try:
                text = await within(READ_SECONDS, self._store.get(stored.results, max_bytes=MAX_RESULTS_BYTES))
                content = await self._worker.call(read, text)
            except InvalidResults as error:
                raise Unusable(stored.results, str(error)) from None
            except TooCostly as error:
                raise Unusable(stored.results, f"the results file {error}") from None
            except TooLarge:
                raise Unusable(stored.results, f"the results file has more than {MAX_RESULTS_BYTES} bytes") from None
        tasks = await within(READ_SECONDS, all_tasks(self._store, stored)) if stored.truncated else stored.tasks
        return Results(*content, tasks)

    def _finish(self, key: str, task: asyncio.Task[Results]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, Unusable):
            self._keep(key, task.result() if error is None else error)
        elif isinstance(error, StoreError) and not isinstance(error, ObjectMissing):
            self._pause()

    def _keep(self, key: str, found: Results | Unusable) -> None:
        self._kept[key] = found
        self._free -= _cost(found)
        while self._free < 0:
            self._free += _cost(self._kept.popitem(last=False)[1])

    def _pause(self) -> None:
        self._pause_until = self._clock() + PAUSE_SECONDS


async def all_tasks(store: Store, stored: Stored) -> tuple[str, ...]:
    """Every task that has samples in the store, where the status has not the room to name them all."""
    prefix = stored.prefix.path
    names = [entry.key.removeprefix(prefix) async for entry in store.list(f"{prefix}samples")]
    return tasks_of(sorted(names)[:MAX_SAMPLE_FILES])


def read(text: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A results file as JSON, and the criteria of its tasks, each packed; InvalidResults."""
    clean = normalised(text)
    return clean, {task: pickle.dumps(found) for task, found in criteria(parse_results(clean)).items()}


def _usable(found: Results | Unusable) -> Results:
    if isinstance(found, Unusable):
        raise Unusable(*found.args)
    return found


def _cost(found: Results | Unusable) -> int:
    return ENTRY_BYTES + (found.bytes if isinstance(found, Results) else 0)


def _size(objects: Iterable[object]) -> int:
    return sum(map(sys.getsizeof, objects))
