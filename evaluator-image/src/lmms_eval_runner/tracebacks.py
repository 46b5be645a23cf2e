"""Finds the exceptions in a log: each with its type, message and frames, in the chains that Python prints. Pure.

`outcome` decides which of them ended the evaluation.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

# What several processes put before a line: torch's rank, vLLM's process name.
_PREFIX = re.compile(r"^(?:\[rank\d+\]:\s?|\([\w.]+ pid=\d+\)\s?(?:ERROR \S+ \S+ \[[^\]]*\]\s?)?)")
# A progress bar without a line end may stand in front.
_HEADER = re.compile(r"Traceback \(most recent call last\):$")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line \d+, in (?P<function>\S+)')
_EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: ?(?P<message>.*))?$")
_LINK = re.compile(r"^(During handling of the above exception|The above exception was the direct cause)")
_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d| \| (INFO|WARNING|ERROR) ")
_MAX_MESSAGE_LINES: Final = 12


class Frame(NamedTuple):
    """Where a call was."""

    file: str
    function: str


class LoggedException(NamedTuple):
    """One exception as printed; `message` may have several lines."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()

    @property
    def text(self) -> str:
        """Type and message, as Python prints them."""
        return f"{self.type}: {self.message}" if self.message else self.type

    def has_frame(self, function: str, file: str = "") -> bool:
        """Return whether a frame is of `function`, in a file whose path ends in `file`."""
        return any(frame.function == function and frame.file.endswith(file) for frame in self.frames)


ExceptionChain = tuple[LoggedException, ...]


def parse_exception_chains(lines: Iterable[str]) -> list[ExceptionChain]:
    """Return the chains of the log in their order; within one the cause comes first, what ended it last."""
    reader = _TracebackReader()
    for line in lines:
        reader.read(_PREFIX.sub("", line.rstrip()))
    return reader.finish()


class _TracebackReader:
    """A small state machine: outside, inside the frames, inside the message."""

    def __init__(self) -> None:
        self._chains: list[list[LoggedException]] = []
        self._frames: list[Frame] | None = None
        self._type = ""
        self._message: list[str] = []
        self._linked = False

    def read(self, line: str) -> None:
        if _HEADER.search(line):
            self._end_message()
            self._frames = []
        elif _LINK.match(line):
            self._end_message()
            self._linked = True
        elif self._type:
            self._read_message(line)
        elif self._frames is not None:
            self._read_frame(self._frames, line)

    def finish(self) -> list[ExceptionChain]:
        self._end_message()
        return [tuple(chain) for chain in self._chains]

    def _read_frame(self, frames: list[Frame], line: str) -> None:
        if frame := _FRAME.match(line):
            frames.append(Frame(frame["file"], frame["function"]))
        elif line and not line.startswith(" ") and (raised := _EXCEPTION.match(line)):
            self._type, self._message = raised["type"], [raised["message"] or ""]

    def _read_message(self, line: str) -> None:
        if _LOG_LINE.search(line):
            self._end_message()
        elif len(self._message) < _MAX_MESSAGE_LINES:
            self._message.append(line)

    def _end_message(self) -> None:
        if not self._type:
            return
        message = "\n".join(self._message).strip()
        if not self._linked or not self._chains:
            self._chains.append([])
        self._chains[-1].append(LoggedException(self._type, message, tuple(self._frames or ())))
        self._frames, self._type, self._message, self._linked = None, "", [], False
