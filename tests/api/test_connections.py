"""Slow clients, silent ones and such as are gone, at a real server on loopback; the application is a
few lines of ASGI.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import cast

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lmms_eval_api.server import connections

# Longer than a busy machine lets a process wait: the server and its clients are one.
REQUEST_SECONDS, ANSWER_SECONDS = 1.0, 1.0
# Shorter than what trickles in here.
SLOW_MACHINE_SECONDS = 10
PIECE = b"x" * 65536


class Server:
    """Counts who hung up."""

    def __init__(self) -> None:
        self.port = 0
        self.left = 0
        self.streams = 0
        self.clients: list[asyncio.StreamWriter] = []

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            await (await self._answer(request))(scope, receive, send)
        except ClientDisconnect:
            self.left += 1

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/stream":
            return StreamingResponse(self._endless())
        if request.url.path == "/early":
            return PlainTextResponse("no", 401)
        return PlainTextResponse(str(len(await request.body())))

    async def _endless(self) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            while True:
                await asyncio.sleep(0)
                yield PIECE
        finally:
            self.streams -= 1


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    protocol = connections.make_protocol(request_seconds=REQUEST_SECONDS, answer_seconds=ANSWER_SECONDS)
    config = uvicorn.Config(
        made.app, http=protocol, ws="none", lifespan="off", interface="asgi3", log_config=None, timeout_keep_alive=1
    )
    config.load()
    running = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    made.port = listening.getsockname()[1]
    task = asyncio.create_task(running._serve([listening]))
    yield made
    for writer in made.clients:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    running.should_exit = running.force_exit = True
    await task


class Client:
    """Raw bytes to the server, and what came back until it hung up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.began = asyncio.get_running_loop().time()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):
            await self.writer.drain()

    async def trickle(self, data: bytes, pause: float) -> None:
        for byte in data:
            await self.send(bytes([byte]))
            await asyncio.sleep(pause)

    async def rest(self) -> bytes:
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    @property
    def seconds(self) -> float:
        return asyncio.get_running_loop().time() - self.began


async def connect(server: Server) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    server.clients.append(writer)
    return Client(reader, writer)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SLOW_MACHINE_SECONDS):
        while True:
            if true():
                return
            await asyncio.sleep(0.01)


async def healthy(server: Server) -> bool:
    client = await connect(server)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
    return (await client.rest()).endswith(b"\r\n\r\n3")


async def test_who_says_nothing_is_hung_up_on(server: Server) -> None:
    client = await connect(server)
    assert await client.rest() == b""
    assert REQUEST_SECONDS * 0.9 < client.seconds < SLOW_MACHINE_SECONDS


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET / HTTP/1.1\r\nX-A: ", b""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", b"HTTP/1.1 408 "),
    ],
    ids=["head", "body"],
)
async def test_a_trickle_gains_no_time(server: Server, sent: bytes, answer: bytes) -> None:
    client = await connect(server)
    await client.send(sent)
    # Seldom enough that none is under way when the answer comes: the server would refuse it, and the answer be lost.
    slow = asyncio.create_task(client.trickle(b"a" * 90, 0.15))
    assert (await client.rest())[:13] == answer
    assert client.seconds < SLOW_MACHINE_SECONDS
    slow.cancel()
    assert await healthy(server)


async def test_a_body_that_stops_is_answered_and_the_application_is_told(server: Server) -> None:
    client = await connect(server)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\nConnection: close")
    assert f"Content-Length: {len(body)}".encode() in head
    await until(lambda: server.left == 1)


async def test_what_was_refused_early_may_not_trickle_on(server: Server) -> None:
    client = await connect(server)
    await client.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    slow = asyncio.create_task(client.trickle(b"a" * 1000, 0.02))
    assert (await client.rest()).startswith(b"HTTP/1.1 401 ")
    assert client.seconds < SLOW_MACHINE_SECONDS
    slow.cancel()


async def test_a_connection_that_is_used_again_has_its_time_anew(server: Server) -> None:
    client = await connect(server)
    for _ in range(6):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await client.reader.readexactly(1) == b"3"
        await asyncio.sleep(REQUEST_SECONDS / 4)
    assert client.seconds > REQUEST_SECONDS
    client.writer.close()


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    client = await connect(server)
    await client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" * 3 + b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert (await client.rest()).count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "late",
    [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", b"GET / HTTP/1.1\r\nX-A: " + b"a" * 300_000],
    ids=["slow", "large"],
)
async def test_what_is_wrong_with_the_next_request_is_not_said_in_the_middle_of_an_answer(
    server: Server, late: bytes
) -> None:
    client = await connect(server)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + late)
    answer = await client.rest()
    # All of it may be lost with the connection.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 4" not in answer
    assert await healthy(server)


async def test_a_stream_lasts_as_long_as_it_is_read(server: Server) -> None:
    client = await connect(server)
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    while client.seconds < 3 * ANSWER_SECONDS:
        await client.reader.readexactly(len(PIECE))
    assert server.streams == 1
    client.writer.transport.abort()
    await until(lambda: not server.streams)


async def test_who_reads_nothing_loses_the_answer(server: Server) -> None:
    client = await connect(server)
    cast(asyncio.Transport, client.writer.transport).pause_reading()
    await client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
    await until(lambda: server.streams > 0)
    while server.streams:
        assert client.seconds < SLOW_MACHINE_SECONDS
        assert await healthy(server)
        await asyncio.sleep(0.05)
    assert client.seconds > ANSWER_SECONDS * 0.9


async def test_hundreds_of_slow_ones_harm_nobody(server: Server) -> None:
    slow = [await connect(server) for _ in range(300)]
    for number, client in enumerate(slow):
        await client.send((b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na", b"")[number % 3])
    for _ in range(20):
        assert await asyncio.wait_for(healthy(server), SLOW_MACHINE_SECONDS)
    await asyncio.wait_for(asyncio.gather(*(client.rest() for client in slow)), SLOW_MACHINE_SECONDS)


async def test_a_peer_that_is_gone_is_probed_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[socket.socket] = []
    probe = connections._enable_probes

    def spied(transport: asyncio.Transport) -> None:
        probe(transport)
        seen.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(connections, "_enable_probes", spied)
    client = await connect(server)
    await until(lambda: bool(seen))
    assert seen[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert seen[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    client.writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 2_000_000,
        b"GET / HTTP/1.1\r\nX-A: " + b"a" * 2_000_000,
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 300_000,
    ],
    ids=["path", "field", "fields"],
)
async def test_heads_are_bounded(server: Server, head: bytes) -> None:
    client = await connect(server)
    await client.send(head)
    answer = await client.rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large")
    assert await healthy(server)
