"""An HTTP proxy in front of the API server, whose behaviour a test changes while it runs: outages without touching the
server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

import aiohttp
import yaml
from aiohttp import web

from lmms_eval_core.kube.configuration import load_kubeconfig
from lmms_eval_core.kube.transport import abort_unread

# pass on; answer 500; cut connections; let watches tell of an error, as an API server does whose storage is in trouble
Mode = Literal["pass", "500", "cut", "error event"]
ERROR_EVENT = b'{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":500,"message":"injected"}}\n'
HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding", "host", "accept-encoding"}


class ApiServerProxy:
    """`mode` is how it treats requests, those that are under way included.

    Unless it is `going`, it says nothing at all.
    """

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream
        self.mode: Mode = "pass"
        self.going = asyncio.Event()
        self.going.set()
        self.requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward the request, or fail as `mode` says."""
        self.requests += 1
        await self.going.wait()
        if self.mode == "cut":
            self.cut(request)
        if self.mode == "500":
            return web.json_response(
                {"kind": "Status", "status": "Failure", "code": 500, "message": "injected"}, status=500
            )
        return await self.forward(request)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Return the API server's answer while it arrives; a change of `mode` may end it."""
        async with self.send(request, await request.read()) as answer:
            response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
            # Whoever asked may be gone by now.
            with contextlib.suppress(ConnectionResetError):
                try:
                    await self._pass_on(request, answer, response)
                finally:
                    abort_unread(answer)
            return response

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if self.mode == "error event" and "watch" in request.query:
                await response.write(ERROR_EVENT)
                break
            if self.mode in ("cut", "500"):
                self.cut(request)
            await self.going.wait()
            await response.write(chunk)
        await response.write_eof()

    def send(self, request: web.Request, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send the request to the API server."""
        url, headers = self._upstream + str(request.rel_url), _end_to_end(request.headers)
        # The server compresses long lists for whoever accepts that.
        skip = ["Content-Type", "Accept-Encoding"]
        return self._session.request(request.method, url, headers=headers, data=body or None, skip_auto_headers=skip)

    @staticmethod
    def cut(request: web.Request) -> NoReturn:
        """Close the connection without an answer."""
        if request.transport is not None:
            request.transport.abort()
        raise web.HTTPServiceUnavailable


Kind = TypeVar("Kind", bound=ApiServerProxy)


@contextlib.asynccontextmanager
async def open_proxy(kubeconfig: str, folder: Path) -> AsyncIterator[tuple[ApiServerProxy, str]]:
    """Serve a proxy for as long as the block lasts; yield it and the path of a kubeconfig that leads through it."""
    async with serve_proxy(ApiServerProxy, kubeconfig, folder) as both:
        yield both


@contextlib.asynccontextmanager
async def serve_proxy(
    kind: Callable[[aiohttp.ClientSession, str], Kind], kubeconfig: str, folder: Path
) -> AsyncIterator[tuple[Kind, str]]:
    """Serve a proxy of this class, as `open_proxy` does."""
    upstream = load_kubeconfig(kubeconfig)
    connector = aiohttp.TCPConnector(ssl=upstream.ssl_context)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        served = kind(session, upstream.host)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", served.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        file = folder / "kubeconfig-of-the-proxy"
        file.write_text(_kubeconfig(f"http://127.0.0.1:{runner.addresses[0][1]}"))
        try:
            yield served, str(file)
        finally:
            await runner.cleanup()


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in HOP_BY_HOP}


def _kubeconfig(server: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}],
        }
    )
