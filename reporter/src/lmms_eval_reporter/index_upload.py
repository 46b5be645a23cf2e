"""Stores an index of each samples file, for pages that show, filter and sort samples (`lmms_eval_core.sample_index`).

It comes last, when files and scores are published, and nothing depends on it: what fails here is a line in the log, and
where it can be, a sentence in the place of the index.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

from lmms_eval_core import layout
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.sample_index.format import OmittedIndex
from lmms_eval_core.sample_index.writer import SampleIndexWriter, encode_omission
from lmms_eval_core.sample_scoring import SampledTask, read_sampled_task
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter import texts
from lmms_eval_reporter.content import Count, FrameStart, in_thread, normalised_lines
from lmms_eval_reporter.media_table import MediaTable
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.run_directory import RunDirectory, read_pieces
from lmms_eval_reporter.upload import StoredSamples

# Of the reasons for omissions, in the log.
MAX_ERROR: Final = 200
CHANGED: Final = "their file was changed while it was published"


class IndexUploader:
    """Stores the indexes of one attempt."""

    def __init__(
        self, store: ObjectStore, prefix: ArtifactPrefix, *, log: ReporterLog, media: MediaTable | None = None
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._media = media or MediaTable()
        self._log = log

    async def send(
        self,
        directory: RunDirectory,
        samples: Iterable[StoredSamples],
        results: dict[str, Any],
        *,
        limit: AbstractAsyncContextManager[None],
    ) -> None:
        """Index these files within the limit. Raises nothing but cancellation."""
        left = list(samples)
        omitted = 0
        try:
            async with limit:
                while left:
                    omitted += not await self._index(directory, left[0], results)
                    left.pop(0)
        except TimeoutError:
            self._log("indexing took too long", files=len(left))
        if omitted or left:
            self._log("indexes left out", files=omitted + len(left))

    async def _index(self, directory: RunDirectory, stored: StoredSamples, results: dict[str, Any]) -> bool:
        name = layout.index_file(stored.source.name)
        try:
            task = read_sampled_task(results, stored.source.task or "")
            with directory.open(stored.source.find_path()) as stream:
                pieces = read_pieces(stream, stored.source.max_bytes)
                find_media = partial(self._media.find, stored.source.task or "")
                index = iterate_index(normalised_lines(pieces, Count()), stored.content, task, find_media)
                await self._store.put(self._prefix.file(name), in_thread(index))
        except OmittedIndex as omitted:
            await self._omit(name, str(omitted))
        except Exception as error:  # noqa: BLE001 - the run is published, and nothing here may change that
            self._report(name, error)
        else:
            return True
        return False

    async def _omit(self, name: str, why: str) -> None:
        self._log("index left out", file=name, error=why)
        try:
            await self._store.put(self._prefix.file(name), encode_omission(why))
        except StoreError as error:
            self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        self._log("index left out", file=name, error=texts.clean_head(f"{type(error).__name__}: {error}", MAX_ERROR))


def iterate_index(
    pieces: Iterable[bytes],
    content: Count,
    task: SampledTask,
    find_media: Callable[[int], list[Any] | None] = lambda key: None,
) -> Iterator[bytes]:
    """Yield the index of a samples file in pieces. Raises OmittedIndex.

    `pieces` are whole lines as they were stored, and `content` is what was counted of them then. `find_media` is that
    of the writer.
    """
    writer, checksum, position = SampleIndexWriter(task, find_media), 0, 0
    frames = FrameFinder(content.frames)
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
        for line in piece.split(b"\n"):
            if line:
                frame = frames.find(position)
                writer.add(line, frame.stored, position - frame.content)
            position += len(line) + 1
        # Behind the last end of a line comes no line.
        position -= 1
        yield writer.take()
    if checksum != content.checksum:
        raise OmittedIndex(CHANGED)
    yield writer.finish()


class FrameFinder:
    """Finds the frame of each position, of which none is before the last one."""

    def __init__(self, frames: list[FrameStart]) -> None:
        self._frames = frames
        self._number = 0

    def find(self, position: int) -> FrameStart:
        """Return the frame that a position of the content is in."""
        while self._number + 1 < len(self._frames) and self._frames[self._number + 1].content <= position:
            self._number += 1
        return self._frames[self._number]
