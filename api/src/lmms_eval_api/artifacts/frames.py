"""From the compressed bytes of a file to its lines, each with the position behind it. Pure, and in bounded memory.

The reporter writes zstd frames of 4 MiB one after the other, so that a position is a frame and a byte in it. A file
that is one long frame is read the same way, from its beginning. A cursor is a position as callers get and send it.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from lmms_eval_core.store.compression import zstd

# This much of the most compressible content becomes 4 MiB.
SLICE_BYTES: Final = 128
# The reporter's frames need 2 MiB. Each reader holds 8 MiB, and refuses frames that need more.
OPTIONS: Final[dict[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
# For one call of the worker: other requests get their turn after it.
GROUP_BYTES: Final = 256 * 1024
# A longer line is not kept, as no page shows such a sample.
LINE_BYTES: Final = 8 * 1024 * 1024

_CURSOR: Final = re.compile(r"(\d{1,9})\.(\d{1,15})\.(\d{1,15})")


class InvalidSampleCursor(Exception):
    """The text is no cursor, or not one of this file."""


class Damaged(Exception):
    """The content is not what we compress, or reading began where no frame does."""


class Position(NamedTuple):
    """Byte `at` of the content of the frame that begins at compressed byte `frame`, from where it can be read."""

    frame: int = 0
    at: int = 0


class Piece(NamedTuple):
    """A piece of the content, and its position."""

    start: Position
    content: bytes


class FrameReader:
    """Decompresses from byte `start` on, where a frame begins."""

    def __init__(self, start: int = 0) -> None:
        self._decoder = zstd.ZstdDecompressor(options=OPTIONS)
        self._read = start
        self._position = Position(start, 0)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the content of `data`. Raises Damaged."""
        for start in range(0, len(data), SLICE_BYTES):
            rest = data[start : start + SLICE_BYTES]
            while rest:
                content, rest = self._decompress(rest)
                if content:
                    yield Piece(self._position, content)
                    self._position = self._position._replace(at=self._position.at + len(content))
                if self._decoder.eof:
                    self._start_frame()

    def _decompress(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the content, and the bytes that belong to the next frame."""
        try:
            content = self._decoder.decompress(data)
        except zstd.ZstdError as error:
            raise Damaged from error
        rest = self._decoder.unused_data if self._decoder.eof else b""
        self._read += len(data) - len(rest)
        return content, rest

    def _start_frame(self) -> None:
        self._decoder = zstd.ZstdDecompressor(options=OPTIONS)
        self._position = Position(self._read, 0)


class SampleLine(NamedTuple):
    """A line without its end, or nothing if it is longer than `LINE_BYTES`; its true length; the position behind it."""

    text: bytes
    length: int
    after: Position


class LineSplitter:
    """Splits pieces into lines. Holds the line that has not ended; it can be sent to the worker and back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._end = Position()

    def feed(self, pieces: Iterable[Piece]) -> Iterator[SampleLine]:
        """Yield the lines that end in these pieces, empty ones too."""
        for piece in pieces:
            yield from self._cut(piece)

    def _cut(self, piece: Piece) -> Iterator[SampleLine]:
        start = 0
        while (end := piece.content.find(b"\n", start)) >= 0:
            self._keep(piece.content[start:end])
            yield self._finish_line(Position(piece.start.frame, piece.start.at + end + 1))
            start = end + 1
        self._keep(piece.content[start:])
        self._end = piece.start._replace(at=piece.start.at + len(piece.content))

    def finish(self) -> Iterator[SampleLine]:
        """Yield the last line, if it has no end."""
        if self._length:
            yield self._finish_line(self._end)

    def _keep(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > LINE_BYTES:
            self._parts = []
        elif part:
            self._parts.append(part)

    def _finish_line(self, after: Position) -> SampleLine:
        line = SampleLine(b"".join(self._parts), self._length, after)
        self._parts, self._length = [], 0
        return line


def skip_to(pieces: Iterable[Piece], position: Position) -> Iterator[Piece]:
    """Yield the pieces from `position` on, which is in the first frame."""
    for piece in pieces:
        missing = position.at - piece.start.at if piece.start.frame == position.frame else 0
        if missing < len(piece.content):
            place = piece.start._replace(at=piece.start.at + max(missing, 0))
            yield Piece(place, piece.content[max(missing, 0) :])


def group_pieces(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces in groups of `GROUP_BYTES`, or nearly twice that."""
    group: list[Piece] = []
    size = 0
    for piece in chain.from_iterable(map(_split_piece, pieces)):
        group.append(piece)
        size += len(piece.content)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _split_piece(piece: Piece) -> Iterator[Piece]:
    for at in range(0, len(piece.content), GROUP_BYTES):
        yield Piece(piece.start._replace(at=piece.start.at + at), piece.content[at : at + GROUP_BYTES])


def join_pieces(group: Iterable[Piece]) -> bytes:
    """Return the content of pieces, without their positions."""
    return b"".join(piece.content for piece in group)


def encode_sample_cursor(attempt: int, position: Position) -> str:
    """Return the opaque cursor of a position. The attempt is in it, as another attempt has other lines."""
    text = f"{attempt}.{position.frame}.{position.at}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_sample_cursor(cursor: str, *, attempt: int) -> Position:
    """Return the position of a cursor. Raises InvalidSampleCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidSampleCursor from error
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[1]) != attempt:
        raise InvalidSampleCursor
    position = Position(int(found[2]), int(found[3]))
    if encode_sample_cursor(attempt, position) != cursor:
        raise InvalidSampleCursor
    return position
