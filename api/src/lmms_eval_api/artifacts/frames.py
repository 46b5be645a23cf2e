"""From the compressed bytes of a file to its lines, each with the place behind it. Pure, and in bounded memory.

The reporter writes zstd frames of 4 MiB one after the other, so that a place is a frame and a byte in it. A file that is one
long frame is read the same way, from its beginning.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

import zstandard

from lmms_eval_api.artifacts.cursor import Position

# Of the best compressible content there is, this much becomes 4 MiB.
SLICE_BYTES: Final = 128
# The reporter's frames need 2 MiB. Each reader holds this.
WINDOW_BYTES: Final = 8 * 1024 * 1024
# A call of the worker for so much: others have their turn after it.
GROUP_BYTES: Final = 256 * 1024
# A longer line is not kept: nobody reads such a sample as one of a page.
LINE_BYTES: Final = 8 * 1024 * 1024


class Damaged(Exception):
    """What is in the store is not what we compress; or the reading began where no frame does."""


class Piece(NamedTuple):
    """A piece of the content, and where it begins."""

    start: Position
    content: bytes


class Frames:
    """Takes compressed bytes from byte `start` on, where a frame begins."""

    def __init__(self, start: int = 0) -> None:
        self._decoder = _decoder()
        self._read = start
        self._place = Position(start, 0)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The content of `data`; Damaged."""
        for start in range(0, len(data), SLICE_BYTES):
            rest = data[start : start + SLICE_BYTES]
            while rest:
                content, rest = self._decompressed(rest)
                if content:
                    yield Piece(self._place, content)
                    self._place = self._place._replace(at=self._place.at + len(content))
                if self._decoder.eof:
                    self._next_frame()

    def _decompressed(self, data: bytes) -> tuple[bytes, bytes]:
        """The content, and what belongs to the next frame."""
        try:
            content = self._decoder.decompress(data)
        except zstandard.ZstdError as error:
            raise Damaged from error
        rest = self._decoder.unused_data if self._decoder.eof else b""
        self._read += len(data) - len(rest)
        return content, rest

    def _next_frame(self) -> None:
        self._decoder = _decoder()
        self._place = Position(self._read, 0)


def _decoder() -> "zstandard.ZstdDecompressionObj":
    return zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES).decompressobj()


class Line(NamedTuple):
    """A line without its end, or nothing of one that is longer than `LINE_BYTES`; its true length; the place behind it."""

    text: bytes
    length: int
    after: Position


class Lines:
    """Cuts pieces into lines. Holds the line that has not ended, and can be sent to the worker and back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._end = Position()

    def feed(self, pieces: Iterable[Piece]) -> Iterator[Line]:
        """The lines that end in these pieces, empty ones too."""
        for piece in pieces:
            yield from self._cut(piece)

    def _cut(self, piece: Piece) -> Iterator[Line]:
        start = 0
        while (end := piece.content.find(b"\n", start)) >= 0:
            self._keep(piece.content[start:end])
            yield self._ended(Position(piece.start.frame, piece.start.at + end + 1))
            start = end + 1
        self._keep(piece.content[start:])
        self._end = piece.start._replace(at=piece.start.at + len(piece.content))

    def rest(self) -> Iterator[Line]:
        """A last line that has no end."""
        if self._length:
            yield self._ended(self._end)

    def _keep(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > LINE_BYTES:
            self._parts = []
        elif part:
            self._parts.append(part)

    def _ended(self, after: Position) -> Line:
        line = Line(b"".join(self._parts), self._length, after)
        self._parts, self._length = [], 0
        return line


def behind(pieces: Iterable[Piece], position: Position) -> Iterator[Piece]:
    """The pieces from `position` on, which lies in the first frame; Damaged if that has not so many bytes."""
    for piece in pieces:
        missing = position.at - piece.start.at if piece.start.frame == position.frame else 0
        if missing < len(piece.content):
            place = piece.start._replace(at=piece.start.at + max(missing, 0))
            yield Piece(place, piece.content[max(missing, 0) :])


def groups(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces cut and put together to `GROUP_BYTES`, or nearly twice that."""
    group: list[Piece] = []
    size = 0
    for piece in chain.from_iterable(map(_parts, pieces)):
        group.append(piece)
        size += len(piece.content)
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _parts(piece: Piece) -> Iterator[Piece]:
    for at in range(0, len(piece.content), GROUP_BYTES):
        yield Piece(piece.start._replace(at=piece.start.at + at), piece.content[at : at + GROUP_BYTES])


def joined(group: Iterable[Piece]) -> bytes:
    """The content of pieces, where their places do not matter."""
    return b"".join(piece.content for piece in group)
