"""Copies what the harness prints into `log.txt` and to our own output, line by line, without secrets and colours.

The harness writes into a file that has no name: it never waits for a reader, and nobody else finds the raw text. Both copies
are the same bytes, with a mark of their place from time to time (`lmms_eval_core.log`), so that a reader may change between them.
"""

import os
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from lmms_eval_core.log import MARK_EVERY, PREFIX, mark
from lmms_eval_core.redact import Redactor, plain

from .lines import MAX_SHOWN, LineReader

_CHUNK: Final = 256 * 1024
# Per call of `pump`: a flood of output must not keep its caller from everything else.
_MAX_CHUNKS: Final = 64


class LogCopy:
    """Copies what the harness writes into `raw`, a file descriptor of ours, to `outputs`; `see` gets every line as well."""

    def __init__(
        self,
        raw: int,
        outputs: Sequence[BinaryIO],
        *,
        redact: Redactor,
        clock: Callable[[], float],
        see: Callable[[str], None],
    ) -> None:
        self._raw, self._outputs = raw, outputs
        self._redact, self._clock, self._see = redact, clock, see
        self._reader = LineReader()
        self._offset = 0
        self._written = 0
        self._marked = 0

    def pump(self) -> None:
        """Copies what the harness has written since the last call."""
        for _ in range(_MAX_CHUNKS):
            data = os.pread(self._raw, _CHUNK, self._offset)
            if not data:
                return
            self._offset += len(data)
            self._copy(self._reader.feed(data, self._clock()))

    def note(self, text: str) -> None:
        """A line of our own."""
        self._copy([f"{PREFIX}{text}".encode()])

    def finish(self) -> None:
        """Copies the rest, to which nobody adds any more."""
        while self._offset < os.fstat(self._raw).st_size:
            self.pump()
        self._copy(self._reader.finish())

    def _copy(self, lines: list[bytes]) -> None:
        texts = [self._redact(plain(line.decode(errors="replace")))[:MAX_SHOWN] for line in lines]
        for text in texts:
            self._see(text)
        self._write("".join(f"{text}\n" for text in texts).encode())
        if self._written - self._marked >= MARK_EVERY:
            self._marked = self._written
            self._write(f"{PREFIX}{mark(self._written)}\n".encode())

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        for output in self._outputs:
            try:
                output.write(data)
                output.flush()
            except OSError:
                # A full disk or a closed terminal must not end an evaluation.
                continue
