"""A response whose body is put together from parts that others may hold as well. It is sent as fast as its caller takes it.

Megabytes of results that many ask for at once stand in memory once, however slowly some of them read.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SLICE_BYTES: Final = 256 * 1024

T = TypeVar("T")


class Parts(Response):
    """The parts, one behind the other."""

    def __init__(self, parts: Sequence[bytes], *, media_type: str, headers: Mapping[str, str]) -> None:
        length = str(sum(map(len, parts)))
        super().__init__(media_type=media_type, headers={**headers, "Content-Length": length})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it; a server waits in `send` until there is room."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        last = b""
        for piece in slices(self._parts):
            if last:
                await send({"type": "http.response.body", "body": last, "more_body": True})
            last = piece
        await send({"type": "http.response.body", "body": last})


def separated(items: Sequence[T], separator: T) -> list[T]:
    """The items with the separator between them."""
    return [part for item in items for part in (separator, item)][1:]


def slices(parts: Sequence[bytes]) -> Iterator[bytes]:
    """The parts cut and put together into pieces of one size."""
    held: list[bytes] = []
    room = SLICE_BYTES
    for part in parts:
        start = 0
        while len(part) - start >= room:
            yield b"".join([*held, part[start : start + room]])
            start, held, room = start + room, [], SLICE_BYTES
        if rest := part[start:]:
            held.append(rest)
            room -= len(rest)
    if held:
        yield b"".join(held)
