"""Deletes media that no living run shows, and the oldest ones beyond a budget. `sweeper` runs it.

Runs share the files of the pool, so that none goes with a run. These rules keep it from deleting files in use:

* **The order.** The pool is listed first, the evaluations after it, and then what their samples show (`media.idx`), or
  where that is missing, their answers (the journals of media). Journals are deleted once `media.idx` is there, so that
  it is looked for again after them.
* **The grace period.** Only files go that were put there so long ago. A reporter that needs a file which is older than
  half of that puts it there anew.
* **The second list.** Files are deleted as it names them: one that was put there anew meanwhile has another time.
* Whatever cannot be read or listed ends the sweep, before anything is deleted of which that could be the witness.

The budget knows no runs: the oldest go, and the page says of them that they are no longer kept.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from lmms_eval_api.retention.pool_survey import PoolFile, PoolSurvey
from lmms_eval_core import layout
from lmms_eval_core.journal import JournalKind
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.media import DIGEST_BYTES
from lmms_eval_core.store.errors import ObjectMissing
from lmms_eval_core.store.objects import ObjectStore

BATCH: Final = 1000
RUNS_AT_ONCE: Final = 8

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.sweeper")


class LivingRun(NamedTuple):
    """An evaluation that exists: its newest attempt, those that samples or answers are shown of, and how it stands."""

    newest: ArtifactPrefix
    attempts: frozenset[int]
    has_completed: bool


class PoolSize(NamedTuple):
    """How full the pool is, as the last sweep has found it, once there was one.

    `evicted` files were deleted since the start because there were more than `budget` bytes.
    """

    budget: int
    files: int = 0
    bytes: int = 0
    evicted: int = 0
    is_known: bool = False


class MediaPool:
    """The pool of one namespace; `budget` is in bytes, 0 for no limit.

    `read_shown` returns the beginnings of the digests in a segment of a journal of media.
    """

    def __init__(
        self,
        store: ObjectStore,
        namespace: str,
        read_shown: Callable[[str], Awaitable[list[bytes]]],
        *,
        budget: int = 0,
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._read_shown = read_shown
        self.size = PoolSize(budget)

    async def survey(self, deadline: float) -> PoolSurvey:
        """List the pool; what is older than `deadline` may be deleted. Raises StoreError."""
        survey = PoolSurvey(deadline)
        async for file in self._list_files():
            survey.add(file)
        survey.seal()
        self._tell(survey)
        return survey

    async def delete(self, survey: PoolSurvey, runs: Sequence[LivingRun]) -> None:
        """Delete what none of the runs shows, and what is beyond the budget. Raises StoreError."""
        if survey.unmarked:
            await self._mark_shown(survey, runs)
        if survey.unmarked:
            deleted = await self._delete_files(survey, survey.is_orphan)
            log.info("deleted media that no evaluation shows any more", extra={"files": deleted})
        eviction = survey.plan_eviction(self.size.budget) if self.size.budget else None
        if eviction is not None:
            evicted = await self._delete_files(survey, eviction.takes)
            self.size = self.size._replace(evicted=self.size.evicted + evicted)
            log.warning("deleted the oldest media: there were more than may be kept", extra={"files": evicted})
        self._tell(survey)

    def _tell(self, survey: PoolSurvey) -> None:
        self.size = self.size._replace(files=survey.files, bytes=survey.bytes, is_known=True)

    async def _list_files(self) -> AsyncIterator[PoolFile]:
        async for item in self._store.list(f"{self._namespace}/{layout.MEDIA_POOL}"):
            digest = layout.parse_media_object(self._namespace, item.key)
            if digest is not None:
                yield PoolFile(digest, item.size, item.modified.timestamp())

    async def _delete_files(self, survey: PoolSurvey, takes: Callable[[PoolFile], bool]) -> int:
        batch: list[PoolFile] = []
        count = 0
        async for file in self._list_files():
            if takes(file):
                batch.append(file)
                count += 1
            if len(batch) == BATCH:
                await self._delete_batch(survey, batch)
                batch = []
        await self._delete_batch(survey, batch)
        return count

    async def _delete_batch(self, survey: PoolSurvey, batch: Iterable[PoolFile]) -> None:
        await self._store.delete([layout.media_object(self._namespace, file.digest) for file in batch])
        for file in batch:
            survey.remove(file)

    async def _mark_shown(self, survey: PoolSurvey, runs: Sequence[LivingRun]) -> None:
        for start in range(0, len(runs), RUNS_AT_ONCE):
            await asyncio.gather(*(self._mark_run(survey, run) for run in runs[start : start + RUNS_AT_ONCE]))
            if not survey.unmarked:
                return

    async def _mark_run(self, survey: PoolSurvey, run: LivingRun) -> None:
        prefixes = [run.newest._replace(attempt=attempt) for attempt in sorted(run.attempts)]
        found = [await self._mark_digests(survey, prefix) for prefix in prefixes]
        if not all(found) and not run.has_completed:
            await self._mark_journals(survey, run.newest)
            for prefix in prefixes:
                await self._mark_digests(survey, prefix)

    async def _mark_digests(self, survey: PoolSurvey, prefix: ArtifactPrefix) -> bool:
        """Mark what the samples of an attempt show; return whether that is known."""
        rest = b""
        try:
            async for piece in self._store.stream(prefix.file(layout.MEDIA_DIGESTS)):
                content = rest + piece
                whole = len(content) // DIGEST_BYTES * DIGEST_BYTES
                survey.mark(content[start : start + DIGEST_BYTES] for start in range(0, whole, DIGEST_BYTES))
                rest = content[whole:]
                # Other requests get their turn.
                await asyncio.sleep(0)
        except ObjectMissing:
            return False
        return True

    async def _mark_journals(self, survey: PoolSurvey, newest: ArtifactPrefix) -> None:
        keys = [item.key async for item in self._store.list(newest.evaluation)]
        for key in keys:
            attempt, _, file = key.removeprefix(newest.evaluation).partition("/")
            if _is_media_segment(attempt, file):
                survey.mark(await self._read_shown(key))


def _is_media_segment(attempt: str, file: str) -> bool:
    number = attempt.removeprefix("a")
    names = layout.group_journal_segments([file], int(number)) if number.isdecimal() else {}
    return any(name.kind is JournalKind.MEDIA for name in names)
