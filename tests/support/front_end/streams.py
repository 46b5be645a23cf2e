"""Streamed answers, and how a client sees their end."""

import asyncio

import httpx
from front_end_fixtures import FrontEnd
from plain_http import NO_TLS


def open_session(front_end: FrontEnd, token: str) -> httpx.AsyncClient:
    """Open an HTTP client without a time-out."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=front_end.url, headers=headers, timeout=None, trust_env=False, verify=NO_TLS)


async def follow_until_severed(session: httpx.AsyncClient, path: str) -> asyncio.Task[None]:
    """Open a stream that the server must break off; return the task that reads it, and fails if it ends properly."""
    opened = asyncio.Event()
    reading = asyncio.create_task(_read_until_severed(session, path, opened))
    opening = asyncio.create_task(opened.wait())
    await asyncio.wait({reading, opening}, return_when=asyncio.FIRST_COMPLETED)
    opening.cancel()
    return reading


async def _read_until_severed(session: httpx.AsyncClient, path: str, opened: asyncio.Event) -> None:
    async with session.stream("GET", path) as answer:
        assert answer.status_code == 200, path
        opened.set()
        try:
            async for _ in answer.aiter_raw():
                pass
        except httpx.RemoteProtocolError:
            return
    raise AssertionError(f"{path} came to a good end")
