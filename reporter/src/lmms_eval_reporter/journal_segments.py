"""From the journal files of a run to the segments that are stored of them, and back. `journal_upload` sends them,
`earlier_attempts` brings them to the next attempt.

A segment is whole lines, each parsed and written anew, in one zstd frame. The newest segment of a file is stored again
as it grows; when it is full the next one begins. In memory are the newest segment of each file and the line that is
being read.
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Final, NamedTuple

from lmms_eval_core.journal import MAX_LINE_BYTES, ChunkLine, JournalLine, JournalName, MediaLine, parse_journal_line
from lmms_eval_core.layout import journal_segment
from lmms_eval_core.media import DocumentMedia
from lmms_eval_core.store.compression import zstd

LEVEL: Final = 3
# Uncompressed bytes of a segment; a longer line has one for itself.
SEGMENT_BYTES: Final = 4 * 1024 * 1024
READ_BYTES: Final = 1024 * 1024
# Of the newest segments of all files together, as they are in memory.
OPEN_BYTES: Final = 32 * 1024 * 1024
# A frame may ask its reader for more memory than its content: ours need 4 MiB.
_OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
# What people read of an answer, and no run needs.
_SHOWN: Final = {"batches": {"__all__": {"answers": {"__all__": {"prompt", "target"}}}}}


class StoredLine(NamedTuple):
    """A line as it is stored, and the number of its answers."""

    content: bytes
    answers: int


class CopiedLines(NamedTuple):
    """What `copy_lines` wrote, in bytes, and why it ended before the end; empty where it did not."""

    bytes: int
    problem: str


class Room:
    """How many bytes of journal may still be stored."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, size: int) -> bool:
        """Take `size` bytes, or nothing where they do not fit."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


class JournalFile:
    """One journal file of the run: how far it was read, and its newest segment.

    `kept` counts the answers that are in the store; `problem` says why the file is read no further.
    """

    def __init__(self, name: JournalName) -> None:
        self.name = name
        self.kept = 0
        self.problem = ""
        self.is_known = False
        self._offset = 0
        self._number = 0
        self._lines = bytearray()
        self._answers = 0
        self._stored = 0
        self._is_full = False

    @property
    def has_new_lines(self) -> bool:
        """Whether the newest segment has lines that the store lacks."""
        return len(self._lines) > self._stored

    @property
    def segment(self) -> str:
        """Name of the newest segment in the store."""
        return journal_segment(str(self.name), self._number)

    def read(self, stream: BinaryIO, *, limit: int, room: Room, shown: bool) -> None:
        """Add new whole lines, until the newest segment has `limit` bytes or the file has no more.

        `shown` is whether prompts and targets are kept. `problem` is set at a line that is not the runner's.
        """
        for line in self.list_new_lines(stream):
            stored = convert_line(line, shown=shown)
            if stored is None:
                self.refuse_line()
                return
            if not self.append(stored, len(line), limit=limit, room=room):
                return

    def list_new_lines(self, stream: BinaryIO) -> Iterator[bytes]:
        """Yield the whole lines behind the last one that was added; one that is too long, as far as it is read."""
        self.is_known = True
        stream.seek(self._offset)
        for line in _read_lines(io.BufferedReader(stream, READ_BYTES)):  # type: ignore[type-var]
            if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                # The runner is writing it.
                return
            yield line

    def refuse_line(self) -> None:
        """Read no further: the next line is not one of ours."""
        self.problem = "a line is not the runner's"

    def append(self, stored: StoredLine, size: int, *, limit: int, room: Room) -> bool:
        """Add the next line of the file, which has `size` bytes there; return False where it does not fit yet, or ever.

        Where it does not fit yet, the newest segment is to be stored first.
        """
        if self._is_without_room(len(stored.content), limit):
            self._is_full = True
            return False
        if not room.take(len(stored.content)):
            self.problem = "the journal is as large as it may become"
            return False
        self._offset += size
        self._lines += stored.content
        self._answers += stored.answers
        return True

    def compress(self) -> bytes:
        """Return the newest segment as it is stored."""
        return zstd.compress(bytes(self._lines), level=LEVEL)

    def record_stored(self) -> bool:
        """Note that the newest segment is stored as it is here; return whether it was full, and another begins."""
        self.kept += self._answers
        self._answers, self._stored = 0, len(self._lines)
        was_full = self._is_full
        if was_full:
            self._begin_segment()
        return was_full

    def _is_without_room(self, size: int, limit: int) -> bool:
        """Return whether a line must wait for the next segment, which begins here where this one is in the store."""
        if not self._lines or len(self._lines) + size <= limit:
            return False
        if self.has_new_lines:
            return True
        self._begin_segment()
        return False

    def _begin_segment(self) -> None:
        self._number += 1
        self._lines = bytearray()
        self._stored, self._is_full = 0, False


def convert_line(line: bytes, *, shown: bool) -> StoredLine | None:
    """Return a line of the run as it is stored; None where it is not one of ours."""
    parsed = parse_journal_line(line)
    return None if parsed is None else store_line(parsed, shown=shown)


def store_line(parsed: JournalLine, *, shown: bool = True) -> StoredLine | None:
    """Return a line as it is stored; None where it cannot be."""
    try:
        content = _serialise(parsed, shown=shown).encode() + b"\n"
    except ValueError:
        # What JSON can say, and cannot be written again.
        return None
    return StoredLine(content, count_answers(parsed)) if len(content) <= MAX_LINE_BYTES else None


def count_answers(line: JournalLine) -> int:
    """Return how many answers a line has."""
    return sum(len(batch.answers) for batch in line.batches) if isinstance(line, ChunkLine) else 0


def copy_lines(segment: bytes, target: BinaryIO, room: Room) -> CopiedLines:
    """Write the lines of a stored segment to `target`, up to the first that is not ours. OSError where that fails."""
    written = 0
    try:
        with zstd.ZstdFile(io.BytesIO(segment), options=_OPTIONS) as stream:
            for line in _read_lines(stream):
                if not line.endswith(b"\n") or parse_journal_line(line) is None:
                    return CopiedLines(written, "a line is not ours")
                if not room.take(len(line)):
                    return CopiedLines(written, "the journals are larger than they may be")
                target.write(line)
                written += len(line)
    except (zstd.ZstdError, EOFError) as error:
        return CopiedLines(written, f"a segment is broken: {error}")
    return CopiedLines(written, "")


def list_media(segment: bytes) -> Iterator[DocumentMedia]:
    """Yield what the lines of a stored segment say of media, up to the first that is not ours."""
    with suppress(zstd.ZstdError, EOFError), zstd.ZstdFile(io.BytesIO(segment), options=_OPTIONS) as stream:
        for line in _read_lines(stream):
            parsed = parse_journal_line(line)
            if parsed is None:
                return
            if isinstance(parsed, MediaLine):
                yield parsed.media


def _read_lines(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """Yield lines; of one that is too long the beginning, which is longer than any line may be."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        yield line


def _serialise(line: JournalLine, *, shown: bool) -> str:
    if shown or not isinstance(line, ChunkLine):
        return line.to_json()
    return line.model_dump_json(by_alias=True, exclude_unset=True, exclude=_SHOWN)
