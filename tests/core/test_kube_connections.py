"""Connections to an API server that takes its time, over TLS on loopback."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import trustme
import yaml

from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import LEASES

BUSY_SECONDS = 0.6


class BusyServer(NamedTuple):
    """`kubeconfig` leads to it; `asked` is set when it has read a request."""

    kubeconfig: str
    asked: threading.Event


@contextlib.contextmanager
def busy_api_server(folder: Path) -> Iterator[BusyServer]:
    """A server that reads one request, is busy for a while, and ends the connection without an answer."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    asked, ended = threading.Event(), threading.Event()

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as connection:
            connection.recv(65536)
            asked.set()
            ended.wait(BUSY_SECONDS)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield BusyServer(_kubeconfig(folder, f"https://127.0.0.1:{listening.getsockname()[1]}"), asked)
        finally:
            ended.set()
            thread.join()


def _kubeconfig(folder: Path, server: str) -> str:
    document = {
        "current-context": "busy",
        "clusters": [{"name": "busy", "cluster": {"server": server, "certificate-authority": "ca.crt"}}],
        "contexts": [{"name": "busy", "context": {"cluster": "busy"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(document))
    return str(folder / "config")


async def test_a_client_that_is_closed_has_no_open_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop that ended before its connections would leave their sockets open."""
    made: list[socket.socket] = []
    open_socket = transport._open_socket

    def noted(address: aiohttp.AddrInfoType) -> socket.socket:
        made.append(open_socket(address))
        return made[-1]

    monkeypatch.setattr(transport, "_open_socket", noted)
    with busy_api_server(tmp_path) as server:
        client = await transport.connect(kubeconfig=server.kubeconfig)
        asking = asyncio.create_task(client.list(LEASES))
        await asyncio.to_thread(server.asked.wait)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await client.close()
        assert [each.fileno() for each in made] == [-1]
