"""What is uploaded of a file, as chains of generators: read, count, redact or normalise, compress. Pure but for the
reading.

A piece is about a megabyte, so memory does not grow with the file; `in_thread` keeps the event loop free meanwhile.
"""

import asyncio
import codecs
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from lmms_eval_core.json_text import LineNormaliser
from lmms_eval_core.store.compression import zstd
from lmms_eval_reporter import texts

LEVEL: Final = 3
# Uncompressed bytes of a frame: a reader that knows where one begins need not read what is before it. It costs 3 % of
# space.
FRAME_BYTES: Final = 4 * 1024 * 1024
# Bytes of a text file that are no text, after its first megabyte, stay as they are.
_EXACT: Final = "surrogateescape"


class FrameStart(NamedTuple):
    """Where a frame begins: before which byte of the content, and at which byte of what is stored."""

    content: int
    stored: int


@dataclass
class Count:
    """How much has passed so far."""

    bytes: int = 0
    lines: int = 0
    omitted: int = 0
    """Lines in whose place something else was stored."""
    frames: list[FrameStart] = field(default_factory=list)
    """Of a samples file."""
    checksum: int = 0
    """Of the content of a samples file, as it is stored."""


def counted(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """Yield the same pieces; count bytes and ends of lines."""
    for piece in pieces:
        count.bytes += len(piece)
        count.lines += piece.count(b"\n")
        yield piece


def redacted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a log without secrets and control characters."""
    return _clean_lines(pieces, _clean)


def _clean_lines(pieces: Iterable[bytes], clean: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Apply `clean` to whole lines, so that no secret is cut in two."""
    rest = b""
    for piece in pieces:
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if not newline and len(rest) > 2 * len(piece):
            # Megabytes without an end of line are not to be collected in memory.
            whole, rest = rest, b""
        yield clean(whole + newline)
    yield clean(rest)


def redacted_text(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a task's own file without what looks like a secret; everything else, and what is no text, byte for byte."""
    stream = iter(pieces)
    first = next(stream, b"")
    if b"\0" in first or not _is_text(first):
        return chain([first], stream)
    return _clean_lines(
        chain([first], stream), lambda line: texts.redact(line.decode("utf-8", _EXACT)).encode("utf-8", _EXACT)
    )


def normalised_lines(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """Yield lines of JSON that every reader of JSON accepts; count those that no reader could have accepted."""
    lines = LineNormaliser()
    for piece in pieces:
        yield lines.feed(piece)
    yield lines.rest()
    count.omitted = lines.omitted


def checked(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """Yield the same pieces; compute their checksum."""
    for piece in pieces:
        count.checksum = zlib.crc32(piece, count.checksum)
        yield piece


def compressed(pieces: Iterable[bytes], frames: list[FrameStart] | None = None) -> Iterator[bytes]:
    """Yield the pieces as zstd frames, one after the other, which any reader of zstd joins; fill `frames`.

    A piece is never in two frames.
    """
    compressor, filled, stored = zstd.ZstdCompressor(level=LEVEL), 0, 0
    starts = [FrameStart(0, 0)] if frames is None else frames
    starts[:] = [FrameStart(0, 0)]
    for piece in pieces:
        if filled >= FRAME_BYTES:
            packed = compressor.flush()
            yield packed
            stored += len(packed)
            starts.append(FrameStart(starts[-1].content + filled, stored))
            filled = 0
        filled += len(piece)
        if packed := compressor.compress(piece):
            yield packed
            stored += len(packed)
    yield compressor.flush()


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces, each made in a worker thread."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _is_text(beginning: bytes) -> bool:
    """Return whether a file that begins so is text: the last character may be cut."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(beginning)
    except UnicodeDecodeError:
        return False
    return True


def _clean(line: bytes) -> bytes:
    return texts.clean(line.decode("utf-8", "replace")).encode()
