"""What the store has of the attempts before this one: their journals, for the evaluator to go on with, and their times.

An attempt leaves them when it ends or is lost. A store that is away is waited for; what is broken is left out.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError

from lmms_eval_core import layout
from lmms_eval_core.journal import MAX_EARLIER_ATTEMPTS, MAX_LINE_BYTES, JournalKind, JournalName
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import EARLIER_DIRECTORY, MAX_OUTCOME_BYTES, Outcome, Timings
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.journal_segments import Room, copy_lines, list_media
from lmms_eval_reporter.media_table import MediaTable
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory
from lmms_eval_reporter.status_progress import number_or_none

# A segment is one long line at most; zstd adds little to what it cannot compress.
MAX_SEGMENT_BYTES: Final = MAX_LINE_BYTES + MAX_LINE_BYTES // 128


class EarlierAttempts:
    """The attempts of the evaluation of `prefix` that came before its own.

    `problem` says why the answers of one of them were not brought; empty where nothing is known against it.
    """

    def __init__(self, store: ObjectStore, prefix: ArtifactPrefix, *, backoff: Backoff, log: ReporterLog) -> None:
        self._store = store
        self._prefix = prefix
        self._backoff = backoff
        self._log = log
        self.problem = ""

    async def fetch_journals(self, directory: RunDirectory, room: Room) -> None:
        """Put the journals of the newest attempts into `earlier/` of the run directory, as far as there is room."""
        newest = self._prefix.attempt - 1
        for attempt in range(newest, max(0, newest - MAX_EARLIER_ATTEMPTS), -1):
            for name, keys in (await self._list_segments(attempt)).items():
                if name.kind == JournalKind.MEDIA:
                    continue
                try:
                    await self._fetch_file(directory, str(name), keys, room)
                except OSError as error:
                    self.problem = f"answers of attempt {attempt} cannot be written: {error.strerror}"
                    self._log("earlier answers left out", file=str(name), error=error.strerror)

    async def load_media(self, table: MediaTable, attempts: Iterable[int]) -> None:
        """Add what the lines of these attempts say of media, as the reporters stored them, in their order."""
        for attempt in attempts:
            for name, keys in (await self._list_segments(attempt)).items():
                for key in keys if name.kind == JournalKind.MEDIA else ():
                    content = await self._read(key, max_bytes=MAX_SEGMENT_BYTES)
                    if content is not None:
                        await asyncio.to_thread(_add_media, table, content)

    async def sum_timings(self) -> Timings:
        """Return the seconds of all earlier attempts together, of those that could say."""
        total = Timings()
        for attempt in range(1, self._prefix.attempt):
            key = self._prefix._replace(attempt=attempt).file(layout.OUTCOME_FILE)
            content = await self._read(key, max_bytes=MAX_OUTCOME_BYTES)
            total = add_timings(total, _parse_timings(content))
        return total

    async def delete_journals(self) -> None:
        """Delete the journals of all attempts, this one's too. Raises StoreError."""
        for attempt in range(self._prefix.attempt, 0, -1):
            await self._store.delete_prefix(self._prefix._replace(attempt=attempt).file(layout.JOURNAL_FILES))

    async def _list_segments(self, attempt: int) -> dict[JournalName, list[str]]:
        """Return the keys of an attempt's segments by journal file, in order and without a gap."""
        prefix = self._prefix._replace(attempt=attempt)
        files = await self._backoff.retry(lambda: self._try_to_list(prefix), "listing earlier answers")
        found = layout.group_journal_segments(files, attempt)
        return {
            name: [prefix.file(file) for file in _name_gapless(str(name), numbers)] for name, numbers in found.items()
        }

    async def _try_to_list(self, prefix: ArtifactPrefix) -> list[str]:
        names: list[str] = []
        try:
            async for entry in self._store.list(prefix.file(layout.JOURNAL_FILES)):
                names.append(entry.key.removeprefix(prefix.path))
                if len(names) == layout.MAX_SEGMENTS:
                    break
        except Unreachable:
            raise
        except StoreError as error:
            self.problem = f"answers of attempt {prefix.attempt} cannot be listed: {error}"
            self._log("earlier answers left out", attempt=prefix.attempt, error=str(error))
        return names

    async def _fetch_file(self, directory: RunDirectory, name: str, keys: list[str], room: Room) -> None:
        size = 0
        with directory.create(EARLIER_DIRECTORY, name) as target:
            for key in keys:
                content = await self._read(key, max_bytes=MAX_SEGMENT_BYTES)
                if content is None:
                    break
                copied = await asyncio.to_thread(copy_lines, content, target, room)
                size += copied.bytes
                if copied.problem:
                    self._log("earlier answers end here", key=key, error=copied.problem)
                    break
        self._log("earlier answers", file=name, bytes=size)

    async def _read(self, key: str, *, max_bytes: int) -> bytes | None:
        """Return an object; None where it is missing, too large or refused."""
        return await self._backoff.retry(lambda: self._try_to_read(key, max_bytes), "reading earlier attempts")

    async def _try_to_read(self, key: str, max_bytes: int) -> bytes | None:
        try:
            return await self._store.get(key, max_bytes=max_bytes)
        except Unreachable:
            raise
        except ObjectMissing:
            return None
        except StoreError as error:
            self._log("file of an earlier attempt left out", key=key, error=str(error))
            return None


def _add_media(table: MediaTable, segment: bytes) -> None:
    for document in list_media(segment):
        table.add(document)


def add_timings(one: Timings, other: Timings) -> Timings:
    """Return the sums; what neither has is unknown."""
    return Timings(
        load_seconds=_add(one.load_seconds, other.load_seconds),
        generation_seconds=_add(one.generation_seconds, other.generation_seconds),
        total_seconds=_add(one.total_seconds, other.total_seconds),
    )


def _add(one: float | None, other: float | None) -> float | None:
    known = [seconds for value in (one, other) if (seconds := number_or_none(value)) is not None]
    return sum(known) if known else None


def _parse_timings(outcome: bytes | None) -> Timings:
    """Return the times of a stored outcome; none where there is none that can be read."""
    try:
        return Outcome.model_validate_json(outcome or b"").timings
    except ValidationError:
        return Timings()


def _name_gapless(name: str, numbers: set[int]) -> list[str]:
    """Return the segments from the first on, up to the first that is missing."""
    present = next(number for number in range(len(numbers) + 1) if number not in numbers)
    return [layout.journal_segment(name, number) for number in range(present)]
