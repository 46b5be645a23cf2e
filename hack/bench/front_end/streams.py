"""A thousand streams of events at once on one replica: their memory, and how soon a change reaches all of them."""

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Final

from bench.front_end.servers import BenchServer
from bench.rows import Row, percentile

STREAMS: Final = 1000
CHANGES: Final = 5
OPENED_AT_ONCE: Final = 50
STARTED: Final = b"event: state"


class Stream:
    """One open stream; `news` is set by each event."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.heard = 0.0
        self.news = asyncio.Event()

    async def run(self) -> None:
        """Reads until cancelled."""
        async for line in self._reader:
            if line.startswith(STARTED):
                self.heard = time.monotonic()
                self.news.set()


async def measure(size: int, server: BenchServer, jobs: Sequence[str]) -> list[Row]:
    """The jobs are queued, in this order. The first of them are cancelled, which moves up all that stand behind."""
    before = server.process.resident_mib()
    watched, cancelled = list(islice(cycle(jobs[CHANGES:]), STREAMS)), jobs[:CHANGES]
    gate = asyncio.Semaphore(OPENED_AT_ONCE)
    is_gate_open = await asyncio.gather(*(_open(server, name, gate) for name in watched))
    streams = [Stream(reader) for reader, _ in is_gate_open]
    reading = [asyncio.create_task(stream.run()) for stream in streams]
    await _all_heard(streams)
    memory = server.process.resident_mib() - before
    delays = [delay for name in cancelled for delay in await _after_cancel(server, streams, name)]
    for task, (_, writer) in zip(reading, is_gate_open, strict=True):
        task.cancel()
        writer.close()
    name = f"{size} queued, {STREAMS} event streams"
    return [
        Row(f"{name}: memory of all", memory, "MiB"),
        Row(f"{name}: change to event, p50", percentile(delays, 0.5) * 1000, "ms"),
        Row(f"{name}: change to event, p99", percentile(delays, 0.99) * 1000, "ms"),
    ]


async def _after_cancel(server: BenchServer, streams: Sequence[Stream], name: str) -> list[float]:
    for stream in streams:
        stream.news.clear()
    async with server.client() as http:
        (await http.delete(f"/jobs/{name}")).raise_for_status()
    began = time.monotonic()
    await _all_heard(streams)
    # So that the next change is not held back together with this one.
    await asyncio.sleep(1)
    return [stream.heard - began for stream in streams]


async def _all_heard(streams: Sequence[Stream]) -> None:
    async with asyncio.timeout(120):
        for stream in streams:
            await stream.news.wait()


async def _open(
    server: BenchServer, name: str, gate: asyncio.Semaphore
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Plain sockets: a client for HTTP would take more memory here than the server does there."""
    host, port = server.url.removeprefix("http://").split(":")
    fields = [
        f"GET /jobs/{name}/events HTTP/1.1",
        f"Host: {host}",
        *(f"{key}: {value}" for key, value in server.headers.items()),
    ]
    async with gate:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("\r\n".join([*fields, "", ""]).encode())
        status = await reader.readline()
        assert b" 200 " in status, status
    return reader, writer
