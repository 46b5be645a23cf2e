"""The last lines of a log, whatever its lines are. Pure; test_log_streams.py asks over HTTP."""

import time
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.artifacts import logs
from lmms_eval_api.artifacts.logs import TAIL_BYTES, _read_last_lines, cut_last_lines


async def pieces(*content: bytes) -> AsyncGenerator[bytes, None]:
    for piece in content:
        yield piece


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n"]), max_size=12), st.integers(1, 5))
def test_they_are_the_last_ones(parts: list[bytes], count: int) -> None:
    text = b"".join(parts)
    assert cut_last_lines(text, count) == b"".join(text.splitlines(keepends=True)[-count:])


async def test_they_are_so_however_the_log_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TAIL_BYTES", 10)
    assert await _read_last_lines(pieces(b"one\ntwo", b"\nthr", b"ee\n"), 2) == b"two\nthree\n"
    assert await _read_last_lines(pieces(b"one\n", b"two\n", b"three\n"), 9) == b"two\nthree\n"
    assert await _read_last_lines(pieces(b"x" * 30, b"yz"), 1) == b"x" * 8 + b"yz"
    assert await _read_last_lines(pieces(), 1) == b""


@pytest.mark.parametrize("content", [b"x", b"\n"])
async def test_a_log_of_one_line_or_of_millions_takes_a_moment(content: bytes) -> None:
    piece = content * (1024 * 1024)
    began = time.process_time()
    found = await _read_last_lines(pieces(*[piece] * 64), 10_000)
    assert len(found) == (TAIL_BYTES if content == b"x" else 10_000)
    assert time.process_time() - began < 2
