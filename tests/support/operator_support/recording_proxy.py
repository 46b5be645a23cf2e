"""A proxy between one operator and the API server that records the operator's writes, and can block it."""

import asyncio

import aiohttp
from aiohttp import web
from api_server_proxy import ApiServerProxy

from lmms_eval_core import names

READS = ("GET", "HEAD")


class RecordingProxy(ApiServerProxy):
    """`writes` are the forwarded writes, except those of the election, which are counted."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        super().__init__(session, upstream)
        self.writes: list[str] = []
        self.election_writes = 0
        self._open = asyncio.Event()
        self._open.set()

    def block(self) -> None:
        """Accept requests and answer none, like a network that drops packets."""
        self._open.clear()

    def unblock(self) -> None:
        """Answer again, waiting requests included."""
        self._open.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """See `Proxy`."""
        await self._open.wait()
        if request.path.endswith(f"/leases/{names.OPERATOR_LEASE}"):
            self.election_writes += request.method not in READS
        elif request.method not in READS:
            self.writes.append(f"{request.method} {request.path}")
        return await super().handle(request)
