"""What is uploaded of a file, as chains of generators: read, count, redact, compress. Pure but for the reading.

A piece is about a megabyte, so memory does not grow with the file; `in_thread` keeps the event loop free meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import zstandard

from lmms_eval_reporter import texts

LEVEL: Final = 3


@dataclass
class Count:
    """What went through so far."""

    bytes: int = 0
    lines: int = 0


def counted(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """The same pieces; counts bytes and ends of lines."""
    for piece in pieces:
        count.bytes += len(piece)
        count.lines += piece.count(b"\n")
        yield piece


def redacted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A log without secrets and control characters. It is looked at in whole lines, so that no secret is cut in two."""
    rest = b""
    for piece in pieces:
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if not newline and len(rest) > 2 * len(piece):
            # Megabytes without an end of line: not a log of ours, and not to be collected in memory.
            whole, rest = rest, b""
        yield _clean(whole + newline)
    yield _clean(rest)


def compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as one zstd frame."""
    compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each made in a worker thread."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _clean(line: bytes) -> bytes:
    return texts.clean(line.decode("utf-8", "replace")).encode()
