"""Sends the files of an attempt to the object store, one after the other, each as often as it takes.

A file that the user's code made unusable is left out, with a line in the log; a store that is away is waited for
(`retry`).
"""

import asyncio
import os
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from lmms_eval_core import layout, run
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.run import Outcome
from lmms_eval_core.status import ArtifactFile, Artifacts
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter import status_fields, texts
from lmms_eval_reporter.content import Count, counted, in_thread
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile, read_pieces
from lmms_eval_reporter.settings import UploadLimits
from lmms_eval_reporter.sources import UploadSource, list_sources, list_task_sources

PROBE: Final = ".writable"
# Of what a run left below a folder.
MAX_SEEN: Final = 2 * run.MAX_SAMPLE_FILES


class StoredSamples(NamedTuple):
    """A samples file that is stored: what it was made of, and what was counted of its content."""

    source: UploadSource
    content: Count


class Uploader:
    """Collects what it stored; `artifacts` is the list for the status, `samples` what can be indexed."""

    def __init__(
        self, store: ObjectStore, prefix: ArtifactPrefix, *, limits: UploadLimits, backoff: Backoff, log: ReporterLog
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._limits = limits
        self._backoff = backoff
        self._log = log
        self.samples: list[StoredSamples] = []
        self._files: list[ArtifactFile] = []
        self._truncated = False

    @property
    def artifacts(self) -> Artifacts:
        """What is stored by now."""
        return status_fields.build_artifacts(self._store.uri(self._prefix.path), self._files, truncated=self._truncated)

    async def probe(self) -> None:
        """Write and delete an empty object; StoreError where the store cannot be written."""
        key = self._prefix.file(PROBE)
        await self._store.put(key, b"")
        await self._store.delete([key])

    async def send(self, directory: RunDirectory, outcome: Outcome, evaluation: str) -> None:
        """Upload everything that is stored of an attempt, but `complete.json`."""
        await self.send_text(layout.EVALUATION_FILE, evaluation)
        self._truncated |= len(outcome.samples) > self._limits.files
        for source in list_sources(outcome, self._limits):
            await self._send_file(directory, source)
        await self._send_task_files(directory, outcome)
        message = texts.clean(outcome.message)
        await self.send_text(layout.OUTCOME_FILE, outcome.model_copy(update={"message": message}).to_json())

    async def send_text(self, name: str, content: str) -> None:
        """Upload a file that is made here."""
        stored = content.encode("utf-8", "replace")
        await self._backoff.retry(lambda: self._store.put(self._prefix.file(name), stored), f"upload of {name}")
        self._files.append(ArtifactFile(name=name, bytes=len(stored)))

    async def _send_task_files(self, directory: RunDirectory, outcome: Outcome) -> None:
        found = [
            path
            for folder in (run.OUTPUT_DIRECTORY, run.WORK_DIRECTORY)
            for path in islice(directory.list_below(folder), MAX_SEEN)
        ]
        room, taken = self._limits.task_bytes, 0
        for source in list_task_sources(outcome, found, self._limits):
            taken += 1
            room -= await self._send_file(directory, source._replace(max_bytes=room))
        self._truncated |= taken == self._limits.task_files < len(found)

    async def _send_file(self, directory: RunDirectory, source: UploadSource) -> int:
        """Upload a file; return how many bytes were read of it."""
        try:
            stored, read = await self._backoff.retry(
                lambda: self._try_to_send(directory, source), f"upload of {source.name}"
            )
        except UnsafeFile as error:
            self._truncated = True
            self._log("file left out", file=source.name, error=str(error))
            return 0
        self._files.append(stored)
        if source.task is not None:
            self.samples.append(StoredSamples(source, read))
        return read.bytes

    async def _try_to_send(self, directory: RunDirectory, source: UploadSource) -> tuple[ArtifactFile, Count]:
        read, stored = Count(), Count()
        with directory.open(source.find_path()) as stream:
            _seek_to_kept_part(stream, source)
            content = await asyncio.to_thread(
                source.convert, counted(read_pieces(stream, source.max_bytes), read), read
            )
            await self._store.put(self._prefix.file(source.name), in_thread(counted(content, stored)))
        if read.omitted:
            self._truncated = True
            self._log("lines left out", file=source.name, lines=read.omitted)
        return ArtifactFile(name=source.name, bytes=stored.bytes, lines=read.lines), read


def _seek_to_kept_part(stream: BinaryIO, source: UploadSource) -> None:
    excess = os.fstat(stream.fileno()).st_size - source.max_bytes
    if excess > 0 and not source.keep_end:
        raise UnsafeFile(f"{source.name} is larger than {source.max_bytes} bytes")
    stream.seek(max(0, excess))
