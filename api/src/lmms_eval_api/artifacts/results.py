"""The results files of jobs: each is read once for all callers who ask for it, and cached."""

import asyncio
import pickle
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, UnusableArtifact, read_within
from lmms_eval_api.artifacts.stored_files import StoredFiles, list_sampled_tasks
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core import layout
from lmms_eval_core.json_text import normalised
from lmms_eval_core.results_file import InvalidResults, parse_results
from lmms_eval_core.run import MAX_RESULTS_BYTES, MAX_SAMPLE_FILES
from lmms_eval_core.sample_scoring import ScoringCriteria, read_criteria
from lmms_eval_core.store.errors import ObjectMissing, StoreError, TooLarge, Unreachable

KEPT_BYTES: Final = 32 * 1024 * 1024
# Besides its content, an entry takes an object, a key and a place in the order.
ENTRY_BYTES: Final = 1024
# Files that are being read; each is in memory twice.
READS_AT_ONCE: Final = 2
# After a failure the store is not asked again for this long.
PAUSE_SECONDS: Final = 5.0


class StoredResults(NamedTuple):
    """A results file as JSON text, how its tasks are scored, and which tasks have samples.

    The criteria of each task are pickled: twenty thousand objects would take more memory than their text.
    """

    text: bytes
    criteria: dict[str, bytes]
    tasks: tuple[str, ...]

    def find_criteria(self, task: str) -> ScoringCriteria | None:
        """Return how the samples of a task are scored, if the file says so."""
        packed = self.criteria.get(layout.segment(task))
        found: ScoringCriteria | None = pickle.loads(packed) if packed is not None else None
        return found

    @property
    def memory_bytes(self) -> int:
        """The size in memory."""
        return _sum_sizes(
            [self, self.text, self.criteria, *self.criteria, *self.criteria.values(), self.tasks, *self.tasks],
        )


class ResultsCache:
    """Every method raises StoreError. A job's results never change once they exist, so that nothing is read twice."""

    def __init__(
        self,
        store: ArtifactStore,
        worker: Worker,
        *,
        clock: Callable[[], float] = time.monotonic,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._free = kept_bytes
        self._kept: OrderedDict[str, StoredResults | UnusableArtifact] = OrderedDict()
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._running: dict[str, asyncio.Task[StoredResults]] = {}
        self._pause_until = 0.0

    async def get(self, stored: StoredFiles) -> StoredResults:
        """Return the results; with one read, however many callers ask at once."""
        known = self._kept.get(stored.results_key)
        if known is not None:
            self._kept.move_to_end(stored.results_key)
            return _raise_if_unusable(known)
        if self._clock() < self._pause_until:
            raise Unreachable("the object store did not answer a moment ago")
        # Shielded: one caller who hangs up must not cancel the read for the others.
        return await asyncio.shield(self._start_or_join(stored))

    async def get_within(self, stored: StoredFiles, *, seconds: float) -> StoredResults:
        """Return the results, or raise Unreachable after `seconds`, and then for all callers of the next seconds."""
        if stored.results_key in self._kept:
            return await self.get(stored)
        try:
            async with asyncio.timeout(seconds):
                return await self.get(stored)
        except TimeoutError:
            self._pause()
            raise Unreachable(f"the object store did not answer in {seconds:.0f} s") from None

    def _start_or_join(self, stored: StoredFiles) -> asyncio.Task[StoredResults]:
        task = self._running.get(stored.results_key)
        if task is None:
            task = self._running[stored.results_key] = asyncio.create_task(self._read(stored))
            task.add_done_callback(lambda done: self._finish(stored.results_key, done))
        return task

    async def _read(self, stored: StoredFiles) -> StoredResults:
        async with self._reads:
            try:
                text = await read_within(READ_SECONDS, self._store.get(stored.results_key, max_bytes=MAX_RESULTS_BYTES))
                content = await self._worker.call(parse_results_file, text)
            except InvalidResults as error:
                raise UnusableArtifact(stored.results_key, str(error)) from None
            except TooCostly as error:
                raise UnusableArtifact(stored.results_key, f"the results file {error}") from None
            except TooLarge:
                raise UnusableArtifact(
                    stored.results_key,
                    f"the results file has more than {MAX_RESULTS_BYTES} bytes",
                ) from None
        tasks = stored.tasks
        if stored.truncated:
            tasks = await read_within(READ_SECONDS, list_all_tasks(self._store, stored))
        return StoredResults(*content, tasks)

    def _finish(self, key: str, task: asyncio.Task[StoredResults]) -> None:
        del self._running[key]
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, UnusableArtifact):
            self._keep(key, task.result() if error is None else error)
        elif isinstance(error, StoreError) and not isinstance(error, ObjectMissing):
            self._pause()

    def _keep(self, key: str, found: StoredResults | UnusableArtifact) -> None:
        self._kept[key] = found
        self._free -= _compute_cost(found)
        while self._free < 0:
            self._free += _compute_cost(self._kept.popitem(last=False)[1])

    def _pause(self) -> None:
        self._pause_until = self._clock() + PAUSE_SECONDS


async def list_all_tasks(store: ArtifactStore, stored: StoredFiles) -> tuple[str, ...]:
    """Return every task with samples in the store, where the status cannot name them all."""
    prefix = stored.prefix.path
    names = [entry.key.removeprefix(prefix) async for entry in store.list(f"{prefix}samples")]
    return list_sampled_tasks(sorted(names)[:MAX_SAMPLE_FILES])


def parse_results_file(text: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return a results file as JSON, and the pickled criteria of its tasks. Raises InvalidResults."""
    clean = normalised(text)
    return clean, {task: pickle.dumps(found) for task, found in read_criteria(parse_results(clean)).items()}


def _raise_if_unusable(found: StoredResults | UnusableArtifact) -> StoredResults:
    if isinstance(found, UnusableArtifact):
        raise UnusableArtifact(*found.args)
    return found


def _compute_cost(found: StoredResults | UnusableArtifact) -> int:
    return ENTRY_BYTES + (found.memory_bytes if isinstance(found, StoredResults) else 0)


def _sum_sizes(objects: Iterable[object]) -> int:
    return sum(map(sys.getsizeof, objects))
