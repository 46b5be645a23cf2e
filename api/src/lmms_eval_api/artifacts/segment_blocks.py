"""The text of a segment of a journal, in blocks of whole lines; `answers` and `media_journals` read them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from lmms_eval_api.artifacts.samples import SampleReader
from lmms_eval_core.journal import MAX_LINE_BYTES

# The text of a segment is 4 MiB, or one line that is longer.
MAX_SEGMENT_BYTES: Final = 2 * MAX_LINE_BYTES


async def stream_blocks(samples: SampleReader, key: str, at: int) -> AsyncGenerator[bytes, None]:
    """Yield the whole lines of a segment from byte `at` of its text on; a longer line is its end. Raises StoreError."""
    held: list[bytes] = []
    size = seen = 0
    async with aclosing(samples.stream_content(key)) as contents:
        async for content in contents:
            new = content[max(at - seen, 0) :]
            seen += len(content)
            end = new.rfind(b"\n") + 1
            if end:
                yield b"".join([*held, new[:end]])
                held, size = [], 0
            held.append(new[end:])
            size += len(new) - end
            if size > MAX_LINE_BYTES or seen > MAX_SEGMENT_BYTES:
                return
