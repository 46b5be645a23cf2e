import asyncio
import io
import time
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_reporter.content import Count, compressed, counted, in_thread, redacted


def unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True).read()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200)))
def test_what_is_compressed_comes_back_and_is_counted(pieces: list[bytes]) -> None:
    count = Count()
    packed = b"".join(compressed(counted(pieces, count)))
    assert unpacked(packed) == b"".join(pieces)
    assert (count.bytes, count.lines) == (len(b"".join(pieces)), b"".join(pieces).count(b"\n"))


def test_a_large_file_is_made_of_frames_that_can_be_read_alone() -> None:
    megabyte = 1024 * 1024
    packed = list(compressed(bytes([number]) * megabyte for number in range(10)))
    first = zstandard.ZstdDecompressor().decompressobj()
    assert first.decompress(b"".join(packed)) == b"".join(bytes([number]) * megabyte for number in range(4))
    assert unpacked(first.unused_data) == b"".join(bytes([number]) * megabyte for number in range(4, 10))


SECRET = b"hf_abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("size", [40, 64, 100, 1000])
def test_a_secret_is_hidden_wherever_the_file_is_cut(size: int) -> None:
    log = b"first line of the log\nlogin with " + SECRET + b" ok\n\x1b[32mgreen\x1b[0m\nlast \xff"
    cut = [log[start : start + size] for start in range(0, len(log), size)]
    expected = "first line of the log\nlogin with [REDACTED] ok\ngreen\nlast \ufffd"
    assert b"".join(redacted(cut)) == expected.encode()


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    held = redacted(bytes([65]) * 1000 for _ in range(100))
    assert max(len(piece) for piece in held) < 5000


async def test_pieces_are_made_beside_the_event_loop() -> None:
    def slow() -> Iterator[bytes]:
        for piece in (b"a", b"", b"b"):
            time.sleep(0.05)
            yield piece

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    assert [piece async for piece in in_thread(slow())] == [b"a", b"", b"b"]
    counting.cancel()
    assert turns > 100
