"""Stores the journal of a run while it goes on, so that another attempt can go on where this one ends.

A store that is away stops nothing: what it lacks is sent at the next turn. Each attempt writes below its own prefix
alone, so that what comes late harms nobody.
"""

import asyncio
from typing import Final

from lmms_eval_core.journal import JournalKind, JournalName
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import JOURNAL_DIRECTORY
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter.journal_segments import OPEN_BYTES, SEGMENT_BYTES, JournalFile, Room
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff, sleep
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile

_KINDS: Final = (JournalKind.ANSWERS, JournalKind.COMPLETIONS)


class JournalUploader:
    """The journal of one attempt, of a file or two for each of `ranks`.

    `shown` is whether prompts and targets are stored with the answers.
    """

    def __init__(
        self,
        directory: RunDirectory,
        store: ObjectStore,
        prefix: ArtifactPrefix,
        *,
        ranks: int,
        room: Room,
        shown: bool,
        backoff: Backoff,
        log: ReporterLog,
    ) -> None:
        self._directory = directory
        self._store = store
        self._prefix = prefix
        self._room = room
        self._shown = shown
        self._backoff = backoff
        self._log = log
        self._turn = asyncio.Lock()
        self._has_ended = False
        # Names are asked for, not listed: a folder may have millions of files.
        names = (JournalName(prefix.attempt, rank, kind) for rank in range(ranks) for kind in _KINDS)
        self._files = [JournalFile(name) for name in names]

    @property
    def kept(self) -> int | None:
        """How many answers are in the store; None while there is no journal."""
        known = [file.kept for file in self._files if file.is_known]
        return sum(known) if known else None

    @property
    def problem(self) -> str:
        """Why no more answers go to the store, from some point of one of the files on; empty while they do."""
        return next((file.problem for file in self._files if file.problem), "")

    async def run(self, seconds: float, *, stop: asyncio.Event) -> None:
        """Send what is new every so many seconds, and as soon as `stop` is set; until then, or until cancelled."""
        reported = ""
        while not stop.is_set() and not self._has_ended:
            await sleep(seconds, stop)
            try:
                await self.upload()
            except StoreError as error:
                if str(error) != reported:
                    self._log("journal not stored", error=str(error))
                reported = str(error)
            else:
                reported = ""

    def end(self) -> None:
        """Send nothing any more."""
        self._has_ended = True

    async def end_and_settle(self) -> None:
        """Send nothing any more, and wait for what is under way."""
        self.end()
        async with self._turn:
            return

    async def finish(self) -> None:
        """Send what is new, as often as it takes."""
        await self._backoff.retry(self.upload, "upload of the journal")

    async def upload(self) -> None:
        """Send what is new. Raises StoreError."""
        async with self._turn:
            for file in self._files if not self._has_ended else ():
                await self._upload_file(file)

    async def _upload_file(self, file: JournalFile) -> None:
        await asyncio.to_thread(self._read, file)
        while file.has_new_lines and not self._has_ended:
            content = await asyncio.to_thread(file.compress)
            await self._store.put(self._prefix.file(file.segment), content)
            if not file.record_stored():
                return
            await asyncio.to_thread(self._read, file)

    def _read(self, file: JournalFile) -> None:
        if file.problem:
            return
        try:
            with self._directory.open(f"{JOURNAL_DIRECTORY}/{file.name}") as stream:
                file.read(stream, limit=self._compute_limit(), room=self._room, shown=self._shown)
        except UnsafeFile as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                file.problem = str(error)
        except OSError as error:
            file.problem = f"it cannot be read: {error.strerror}"
        if file.problem:
            self._log("journal ends here", file=str(file.name), error=file.problem)

    def _compute_limit(self) -> int:
        """Return the size of a segment by which those of all files fit into memory."""
        known = sum(file.is_known for file in self._files)
        return min(SEGMENT_BYTES, OPEN_BYTES // max(1, known))
