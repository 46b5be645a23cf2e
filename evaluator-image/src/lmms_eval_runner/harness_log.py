"""Copies what the harness prints into `log.txt` and to our own output, line by line, without secrets and colours.

The harness writes into memory that it takes for a file: it never waits for a reader, no volume that is full cuts its
last words, and nobody else finds the raw text. Memory of what is copied is freed at once. Both copies are the same
bytes, with a mark of their place from time to time (`lmms_eval_core.log_marks`), so that a reader may change between
them.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from lmms_eval_core.log_marks import MARK_EVERY, PREFIX, format_mark
from lmms_eval_core.redact import Redactor, plain

from .log_lines import MAX_SHOWN, LineReader

_CHUNK: Final = 256 * 1024
# Per call of `pump`: a flood of output must not keep its caller from everything else.
_MAX_CHUNKS: Final = 64
# Of what the harness writes faster than it can be copied, more is skipped.
MAX_BACKLOG: Final = 64 * 1024 * 1024
# Of what a full volume does not take; the run directory has a reserve for it.
MAX_PENDING: Final = 512 * 1024
_PUNCH_HOLE_AND_KEEP_SIZE: Final = 0x03


class LogSink(Protocol):
    """A destination of the log. Both methods raise OSError where it cannot be written."""

    def write(self, data: bytes, /) -> int | None:
        """Take `data`."""

    def flush(self) -> None:
        """Write what was taken."""


@contextmanager
def open_raw_log() -> Iterator[int]:
    """Yield a file descriptor for the harness to write to."""
    handle = os.memfd_create("lmms-eval-log")
    try:
        yield handle
    finally:
        os.close(handle)


class LogFile:
    """`log.txt`. What a full volume does not take is kept, the end of it at least, and written once there is room."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._pending = b""
        self._lost = 0

    def __enter__(self) -> "LogFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: bytes, /) -> int:
        """Take all of `data`; OSError where it is not yet written."""
        self._pending += data
        self._shorten()
        self.flush()
        return len(data)

    def flush(self) -> None:
        """Write what is pending; OSError where that is still not possible."""
        while self._pending:
            written = self._file.write(self._pending)
            self._pending = self._pending[written or 0 :]
            self._lost = 0

    def _shorten(self) -> None:
        if len(self._pending) > MAX_PENDING:
            whole = self._pending[-MAX_PENDING // 2 :].partition(b"\n")[2]
            self._lost += len(self._pending) - len(whole)
            note = f"{PREFIX}{self._lost} bytes of the log are missing here, because the volume was full\n"
            self._pending = b"\n" + note.encode() + whole


class LogCopy:
    """Copies what the harness writes into `raw`, a file descriptor of ours, to `sinks`.

    `on_line` gets every line as well.
    """

    def __init__(
        self,
        raw: int,
        sinks: Sequence[LogSink],
        *,
        redact: Redactor,
        clock: Callable[[], float],
        on_line: Callable[[str], None],
    ) -> None:
        self._raw, self._sinks = raw, sinks
        self._redact, self._clock, self._on_line = redact, clock, on_line
        self._reader = LineReader()
        self._offset = 0
        self._written = 0
        self._marked = 0

    def pump(self) -> None:
        """Copy what the harness has written since the last call."""
        self._skip_backlog()
        for _ in range(_MAX_CHUNKS):
            data = os.pread(self._raw, _CHUNK, self._offset)
            if not data:
                break
            self._offset += len(data)
            self._copy(self._reader.feed(data, self._clock()))
        self._free_copied()

    def add_line(self, text: str) -> None:
        """Add a line of the runner's own."""
        self._copy([f"{PREFIX}{text}".encode()])

    def finish(self) -> None:
        """Copy the rest, once the harness has ended."""
        while self._offset < os.fstat(self._raw).st_size:
            self.pump()
        self._copy(self._reader.finish())

    def _skip_backlog(self) -> None:
        size = os.fstat(self._raw).st_size
        if size - self._offset > MAX_BACKLOG:
            skipped = size - self._offset - MAX_BACKLOG // 2
            self._offset += skipped
            self._copy(self._reader.finish())
            self.add_line(
                f"{skipped} bytes of the log are missing here: lmms-eval wrote faster than they could be read"
            )

    def _free_copied(self) -> None:
        """Free the memory of what is copied.

        Where the kernel cannot, the log stays in memory until the end of the run.
        """
        start, length = ctypes.c_int64(0), ctypes.c_int64(self._offset)
        if self._offset:
            ctypes.CDLL(None).fallocate(self._raw, _PUNCH_HOLE_AND_KEEP_SIZE, start, length)

    def _copy(self, lines: list[bytes]) -> None:
        texts = [self._redact(plain(line.decode(errors="replace")))[:MAX_SHOWN] for line in lines]
        for text in texts:
            self._on_line(text)
        self._write("".join(f"{text}\n" for text in texts).encode())
        if self._written - self._marked >= MARK_EVERY:
            self._marked = self._written
            self._write(f"{PREFIX}{format_mark(self._written)}\n".encode())

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        for sink in self._sinks:
            try:
                sink.write(data)
                sink.flush()
            except OSError:
                # A full volume or a closed terminal must not end an evaluation.
                continue
