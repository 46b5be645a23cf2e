"""Puts the media of a run into the pool of the namespace while the run goes on, and then the lines that name them.

What the lines name is believed of no one: a file is taken where its content has the digest, and the format of its
place. A digest alone gives nobody a file of another run: it has to come with its content, or from a line that this
evaluation's reporter has stored.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final

from lmms_eval_core import layout
from lmms_eval_core.journal import HeaderLine, JournalKind, JournalName, MediaLine, parse_journal_line
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.media import MAX_LINES_BYTES, DocumentMedia, MediaItem, MediaOmission
from lmms_eval_core.run import JOURNAL_DIRECTORY, MEDIA_DIRECTORY, MediaLimits
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.journal_segments import SEGMENT_BYTES, JournalFile, Room, StoredLine, store_line
from lmms_eval_reporter.media_checks import PLACES, ContentClass, classify, is_permitted, list_digests
from lmms_eval_reporter.media_table import MediaTable
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import sleep
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile, read_pieces

# Of a line: 16 items with three digests each take a tenth of it.
MAX_MEDIA_LINE: Final = 64 * 1024
# Documents that are looked at together; files that are sent at once, of which none is in memory whole but small ones.
DOCUMENTS_AT_ONCE: Final = 32
FILES_AT_ONCE: Final = 8
SMALL_BYTES: Final = 4 * 1024 * 1024
# Of the newest segments of all files together, as they are in memory.
OPEN_BYTES: Final = 16 * 1024 * 1024
_BEGIN_BYTES: Final = 64


class ChangedFile(Exception):
    """A file had another content the second time."""


class MediaUploader:
    """The media of one attempt, of a file of lines for each of `ranks`.

    `table` has the documents whose files are in the pool; what earlier attempts have left there is added before.
    """

    def __init__(
        self,
        directory: RunDirectory,
        store: ObjectStore,
        prefix: ArtifactPrefix,
        *,
        limits: MediaLimits,
        ranks: int,
        log: ReporterLog,
    ) -> None:
        self._directory, self._store, self._prefix = directory, store, prefix
        self._limits, self._log = limits, log
        self._turn = asyncio.Lock()
        self._sending = asyncio.Semaphore(FILES_AT_ONCE)
        self._large = asyncio.Lock()
        self._room = Room(MAX_LINES_BYTES)
        self._bytes = Room(limits.run_bytes)
        self._insists = True
        self._running: asyncio.Task[None] | None = None
        self._limit = min(SEGMENT_BYTES, OPEN_BYTES // ranks)
        self._stored: list[str] = []
        self._under_way: dict[str, asyncio.Future[MediaOmission | None]] = {}
        names = (JournalName(prefix.attempt, rank, JournalKind.MEDIA) for rank in range(ranks))
        self._files = [JournalFile(name) for name in names if limits.policy.permits(PLACES["thumb"])]
        self.table = MediaTable()
        self.omitted = 0

    async def run(self, seconds: float, *, stop: asyncio.Event) -> None:
        """Send what is new every so many seconds, until `stop` is set or this is cancelled."""
        self._running, reported = asyncio.current_task(), ""
        while not stop.is_set():
            await sleep(seconds, stop)
            try:
                await self.upload()
            except StoreError as error:
                if str(error) != reported:
                    self._log("media not stored", error=str(error))
                reported = str(error)
            else:
                reported = ""

    async def upload(self) -> None:
        """Send what is new. Raises StoreError."""
        async with self._turn:
            for file in self._files:
                await self._upload_file(file)

    async def finish(self, limit: AbstractAsyncContextManager[None]) -> None:
        """Send what is new within the limit, trying once: what the store does not take now is left out."""
        self._insists = False
        if self._running is not None:
            # What it has under way is sent again here, and nothing comes after this.
            self._running.cancel()
        try:
            async with limit:
                await self.upload()
        except (StoreError, TimeoutError) as error:
            self._log("media not stored to the end", error=str(error) or "it took too long")
        if self.omitted:
            self._log("files of media left out", files=self.omitted)

    async def store_digests(self, limit: AbstractAsyncContextManager[None]) -> None:
        """Store which files the samples show, within the limit; without it nobody gets them, and they are deleted."""
        if not self.table.files:
            return
        try:
            async with limit:
                await self._store.put(self._prefix.file(layout.MEDIA_DIGESTS), self.table.encode_digests())
        except (StoreError, TimeoutError) as error:
            self._log("digests of media not stored", error=str(error) or "it took too long")

    async def _upload_file(self, file: JournalFile) -> None:
        while lines := await asyncio.to_thread(self._read_lines, file):
            settled = await asyncio.gather(*(self._settle(line) for _, line in lines))
            for (size, _), line in zip(lines, settled, strict=True):
                await self._append(file, line, size)
        await self._store_segment(file)

    def _read_lines(self, file: JournalFile) -> list[tuple[int, HeaderLine | MediaLine]]:
        """Return the next lines, each with its length in the file."""
        found: list[tuple[int, HeaderLine | MediaLine]] = []
        if file.problem:
            return found
        try:
            with self._directory.open(f"{JOURNAL_DIRECTORY}/{file.name}") as stream:
                for line in file.list_new_lines(stream):
                    parsed = parse_journal_line(line) if len(line) <= MAX_MEDIA_LINE else None
                    if not isinstance(parsed, HeaderLine | MediaLine):
                        # What came before it counts.
                        file.refuse_line()
                        break
                    found.append((len(line), parsed))
                    if len(found) == DOCUMENTS_AT_ONCE:
                        break
        except (UnsafeFile, OSError) as error:
            cause = error.__cause__ or error
            if not isinstance(cause, FileNotFoundError):
                file.problem = f"it cannot be read: {error}"
        if file.problem:
            self._log("media end here", file=str(file.name), error=file.problem)
        return found

    async def _append(self, file: JournalFile, line: HeaderLine | MediaLine, size: int) -> None:
        stored = store_line(line) or StoredLine(b"", 0)
        if not file.append(stored, size, limit=self._limit, room=self._room) and not file.problem:
            await self._store_segment(file)
            file.append(stored, size, limit=self._limit, room=self._room)
        if isinstance(line, MediaLine) and not file.problem:
            self.table.add(line.media)

    async def _store_segment(self, file: JournalFile) -> None:
        if file.has_new_lines:
            content = await asyncio.to_thread(file.compress)
            await self._store.put(self._prefix.file(file.segment), content)
            file.record_stored()
        stored, self._stored = self._stored, []
        await asyncio.to_thread(self._remove, stored)

    def _remove(self, digests: list[str]) -> None:
        """Remove files that are in the pool, and named by a stored line."""
        for digest in digests:
            self._directory.remove(MEDIA_DIRECTORY, digest)

    # --- one document ---

    async def _settle(self, line: HeaderLine | MediaLine) -> HeaderLine | MediaLine:
        """Return the line with the files alone that are in the pool."""
        if isinstance(line, HeaderLine):
            return line
        media = line.media
        items = await asyncio.gather(*(self._settle_item(item) for item in media.items))
        settled = DocumentMedia(task=media.task, document=media.document, items=list(items))
        if media.more:
            settled.more = media.more
        return MediaLine(media=settled)

    async def _settle_item(self, item: MediaItem) -> MediaItem:
        settled = item.model_copy()
        for place, digest in list_digests(item):
            omitted = await self._settle_file(item, place, digest)
            if omitted is not None:
                self.omitted += 1
                setattr(settled, place, None)
                settled.omitted = omitted
        return MediaItem(**settled.model_dump(exclude_none=True))

    async def _settle_file(self, item: MediaItem, place: str, digest: str) -> MediaOmission | None:
        """Put a file into the pool; return why it is not there. Raises Unreachable while the store is waited for."""
        if not self._limits.policy.permits(PLACES[place]):
            return MediaOmission.NOT_KEPT
        # The same file of another document is on its way.
        while digest in self._under_way:
            await asyncio.wait([self._under_way[digest]])
        known = self.table.files.get(bytes.fromhex(digest))
        if known is not None and is_permitted(known, item.kind, place):
            self._stored.append(digest)
            return None
        done = self._under_way[digest] = asyncio.get_running_loop().create_future()
        try:
            async with self._sending:
                return await self._send(item, place, digest)
        finally:
            del self._under_way[digest]
            done.set_result(None)

    async def _send(self, item: MediaItem, place: str, digest: str) -> MediaOmission | None:
        try:
            checked = await asyncio.to_thread(self._check, item, place, digest)
        except UnsafeFile:
            return MediaOmission.NOT_KEPT
        if isinstance(checked, MediaOmission):
            return checked
        size, content = checked
        if not self.table.has_room(bytes.fromhex(digest)) or not self._bytes.take(size):
            return MediaOmission.BUDGET
        try:
            await self._put(digest, size)
        except BaseException as error:
            self._bytes.give_back(size)
            if not isinstance(error, UnsafeFile | ChangedFile | StoreError):
                raise
            if isinstance(error, Unreachable) and self._insists:
                raise
            self._log("file of media left out", error=str(error))
            return MediaOmission.NOT_KEPT
        self.table.add_file(bytes.fromhex(digest), content)
        self._stored.append(digest)
        return None

    def _check(self, item: MediaItem, place: str, digest: str) -> tuple[int, ContentClass] | MediaOmission:
        """Return the size of a file that may be kept, and what it can be used for, or why not. Raises UnsafeFile."""
        with self._directory.open(f"{MEDIA_DIRECTORY}/{digest}") as stream:
            found, size, begin = hashlib.sha256(), 0, b""
            for piece in read_pieces(stream, self._limits.file_bytes + 1):
                begin = begin or piece[:_BEGIN_BYTES]
                found.update(piece)
                size += len(piece)
        if size > self._limits.file_bytes:
            return MediaOmission.TOO_LARGE
        content = classify(begin)
        if content is None or found.hexdigest() != digest or not is_permitted(content, item.kind, place):
            return MediaOmission.UNREADABLE
        return size, content

    # --- the pool ---

    async def _put(self, digest: str, size: int) -> None:
        """Write a file into the pool, if it is not there, or has been for so long that it may be deleted soon."""
        key = layout.media_object(self._prefix.namespace, digest)
        if await self._is_fresh(key, size):
            return
        if size <= SMALL_BYTES:
            content = await asyncio.to_thread(self._directory.read, f"{MEDIA_DIRECTORY}/{digest}", max_bytes=size)
            if hashlib.sha256(content).hexdigest() != digest:
                raise ChangedFile
            await self._store.put(key, content)
        else:
            async with self._large:
                await self._put_large(key, digest, size)

    async def _put_large(self, key: str, digest: str, size: int) -> None:
        with self._directory.open(f"{MEDIA_DIRECTORY}/{digest}") as stream:
            await self._store.put(key, _read_again(stream, digest, size))

    async def _is_fresh(self, key: str, size: int) -> bool:
        try:
            found = await self._store.head(key)
        except ObjectMissing:
            return False
        age = datetime.now(UTC) - found.modified
        return found.size == size and age < timedelta(seconds=self._limits.fresh_seconds)


async def _read_again(stream: BinaryIO, digest: str, size: int) -> AsyncIterator[bytes]:
    """Yield the content of a file. Raises ChangedFile before its end where it is not what it was."""
    pieces: Iterator[bytes] = read_pieces(stream, size)
    found, last = hashlib.sha256(), b""
    while piece := await asyncio.to_thread(next, pieces, b""):
        found.update(piece)
        if last:
            yield last
        last = piece
    if found.hexdigest() != digest:
        raise ChangedFile
    yield last
