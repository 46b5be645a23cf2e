"""Reads journals of media: which files the answers of a run show, and the media of documents, until there are samples.

Of each segment an index is kept in memory, some 50 bytes for a document. A segment that has grown since is read again.
What cannot be read is passed over: its media are not shown.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import aclosing
from datetime import datetime
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.byte_cache import ByteCache
from lmms_eval_api.artifacts.media_block import (
    DOCUMENT_BYTES,
    KEY_BYTES,
    SHOWN_BYTES,
    MediaIndex,
    index_media,
    merge_media,
    read_media,
)
from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_api.artifacts.segment_blocks import stream_blocks
from lmms_eval_api.artifacts.sorted_records import find_record
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, UnusableArtifact, read_within
from lmms_eval_api.artifacts.worker import TooCostly, Worker
from lmms_eval_core import layout
from lmms_eval_core.journal import MAX_EARLIER_ATTEMPTS, JournalKind
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.errors import ObjectMissing
from lmms_eval_core.store.objects import StoredObject

# Of one attempt: 300,000 documents with an image each. Those beyond have no media before there are samples.
ATTEMPT_BYTES: Final = 16 * 1024 * 1024
# Of all attempts together.
KEPT_BYTES: Final = 32 * 1024 * 1024
MEDIA_BYTES: Final = 8 * 1024 * 1024
# Of a segment, beside its records.
_SEGMENT_BYTES: Final = 500
# How often the store is asked whether there is more: for the attempt that runs, and for those before it.
NEWEST_SECONDS: Final = 2.0
EARLIER_SECONDS: Final = 60.0


class SegmentIndex(NamedTuple):
    """The index of a segment as it was stored then."""

    size: int
    modified: datetime
    media: MediaIndex


class AttemptMedia:
    """What is known of the journals of an attempt, by the key of each segment."""

    def __init__(self) -> None:
        self.segments: dict[str, SegmentIndex] = {}
        self.looked_at = float("-inf")
        self.turn = asyncio.Lock()

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        indexes = (found.media for found in self.segments.values())
        return sum(_SEGMENT_BYTES + len(index.documents) + len(index.shown) for index in indexes)

    def is_shown(self, digest: bytes) -> bool:
        """Whether a document has this file."""
        beginning = digest[:SHOWN_BYTES]
        indexes = (found.media.shown for found in self.segments.values())
        return any(find_record(index, SHOWN_BYTES, beginning) is not None for index in indexes)

    def find_places(self, keys: Collection[bytes]) -> dict[str, dict[int, bytes]]:
        """Return the byte at which the line of each document begins, by the segment that has it."""
        found: dict[str, dict[int, bytes]] = {}
        for segment, index in self.segments.items():
            documents = index.media.documents
            for key in keys:
                record = find_record(documents, DOCUMENT_BYTES, key)
                if record is not None:
                    end = (record + 1) * DOCUMENT_BYTES
                    place = int.from_bytes(documents[end - DOCUMENT_BYTES + KEY_BYTES : end], "big")
                    found.setdefault(segment, {})[place] = key
        return found


class MediaJournals:
    """Every method raises StoreError. `samples` decompresses."""

    def __init__(
        self,
        store: ArtifactStore,
        worker: Worker,
        samples: SampleReader,
        *,
        at_once: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._worker = worker
        self._samples = samples
        self._turns = asyncio.Semaphore(at_once)
        self._clock = clock
        self._attempts: OrderedDict[ArtifactPrefix, AttemptMedia] = OrderedDict()
        self._media = ByteCache(MEDIA_BYTES)

    async def is_shown(self, newest: ArtifactPrefix, digest: bytes) -> bool:
        """Return whether answers of a run show a file, those of earlier attempts too."""
        for attempt in _list_attempts(newest):
            known = self._find(attempt)
            if known.is_shown(digest):
                return True
            await self._refresh(attempt, known, is_newest=attempt == newest)
            if known.is_shown(digest):
                return True
        return False

    async def find_media(self, newest: ArtifactPrefix, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return the media of documents, as the end of a JSON object, as far as there are any by now."""
        names = {key: f"{newest.evaluation}{key.hex()}" for key in keys}
        found = {key: media for key, name in names.items() if (media := self._media.get(name)) is not None}
        for attempt in _list_attempts(newest):
            missing = [key for key in names if key not in found]
            if not missing:
                break
            known = self._find(attempt)
            places = known.find_places(missing)
            if sum(map(len, places.values())) < len(missing):
                await self._refresh(attempt, known, is_newest=attempt == newest)
                places = known.find_places(missing)
            for segment, lines in places.items():
                found |= await self._read_lines(segment, lines)
        for key, media in found.items():
            self._media.put(names[key], media)
        return found

    async def read_shown(self, segment: str) -> list[bytes]:
        """Return the beginnings of the digests in a segment, `SHOWN_BYTES` each, as far as it can be read."""
        shown = (await self._read_index(segment)).shown
        return [shown[start : start + SHOWN_BYTES] for start in range(0, len(shown), SHOWN_BYTES)]

    def _find(self, attempt: ArtifactPrefix) -> AttemptMedia:
        known = self._attempts.pop(attempt, None) or AttemptMedia()
        self._attempts[attempt] = known
        return known

    async def _refresh(self, attempt: ArtifactPrefix, known: AttemptMedia, *, is_newest: bool) -> None:
        """Index what is new, unless somebody has looked a moment ago."""
        async with known.turn:
            if self._clock() - known.looked_at < (NEWEST_SECONDS if is_newest else EARLIER_SECONDS):
                return
            for item in await read_within(READ_SECONDS, self._list_segments(attempt)):
                seen = known.segments.get(item.key)
                if seen is not None and (seen.size, seen.modified) == (item.size, item.modified):
                    continue
                if known.memory_bytes > ATTEMPT_BYTES:
                    break
                known.segments[item.key] = SegmentIndex(item.size, item.modified, await self._read_index(item.key))
            known.looked_at = self._clock()
        self._drop_attempts()

    def _drop_attempts(self) -> None:
        """Drop those that were not used for long, while there are too many."""
        sizes = {attempt: known.memory_bytes + _SEGMENT_BYTES for attempt, known in self._attempts.items()}
        excess = sum(sizes.values()) - KEPT_BYTES
        for attempt, size in sizes.items():
            if excess <= 0:
                return
            del self._attempts[attempt]
            excess -= size

    async def _list_segments(self, attempt: ArtifactPrefix) -> list[StoredObject]:
        found: list[StoredObject] = []
        async for item in self._store.list(attempt.file(layout.JOURNAL_FILES)):
            found.append(item)
            if len(found) == layout.MAX_SEGMENTS:
                break
        return [item for item in found if is_media_segment(item.key.removeprefix(attempt.path), attempt.attempt)]

    async def _read_index(self, segment: str) -> MediaIndex:
        parts: list[MediaIndex] = []
        at = 0
        async with self._turns:
            try:
                async with aclosing(stream_blocks(self._samples, segment, 0)) as blocks:
                    async for block in blocks:
                        parts.append(await self._worker.call(index_media, block, at))
                        at += len(block)
                        if parts[-1].is_over:
                            break
            except (UnusableArtifact, ObjectMissing, TooCostly):
                pass
            return await self._worker.call(merge_media, parts) if parts else MediaIndex()

    async def _read_lines(self, segment: str, places: dict[int, bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        at = 0
        async with self._turns:
            try:
                async with aclosing(stream_blocks(self._samples, segment, 0)) as blocks:
                    async for block in blocks:
                        here = {place - at: key for place, key in places.items() if at <= place < at + len(block)}
                        if here:
                            found |= await self._worker.call(read_media, block, here)
                        at += len(block)
                        if len(found) == len(places):
                            break
            except (UnusableArtifact, ObjectMissing, TooCostly):
                pass
        return found


def is_media_segment(file: str, attempt: int) -> bool:
    """Return whether a file of an attempt is a segment of its journals of media."""
    names = layout.group_journal_segments([file], attempt)
    return any(name.kind is JournalKind.MEDIA for name in names)


def _list_attempts(newest: ArtifactPrefix) -> list[ArtifactPrefix]:
    first = max(1, newest.attempt - MAX_EARLIER_ATTEMPTS)
    return [newest._replace(attempt=number) for number in range(newest.attempt, first - 1, -1)]
