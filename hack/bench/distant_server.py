"""A relay before a server on loopback that is as far away as `delay` says; it counts what passes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

PIECE: Final = 64 * 1024


class DistantServer:
    """Each request arrives `delay` seconds late; `requests` have been sent, and `answered` bytes have come back."""

    def __init__(self, port: int, *, delay: float) -> None:
        self._port = port
        self._delay = delay
        self.requests = self.answered = 0

    @contextlib.asynccontextmanager
    async def relay(self, port: int) -> AsyncIterator[None]:
        """Listen on another port for as long as the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(self._send(reader, far_writer), self._answer(far_reader, writer))

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                self.requests += piece.startswith(b"GET ")
                await asyncio.sleep(self._delay)
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                self.answered += len(piece)
                writer.write(piece)
                await writer.drain()
        writer.close()
