"""Streamed answers, and how a client sees their end."""

import httpx
from front_end_fixtures import FrontEnd


def open_session(front_end: FrontEnd, token: str) -> httpx.AsyncClient:
    """Open an HTTP client without a time-out."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=front_end.url, headers=headers, timeout=None, trust_env=False)


async def read_until_severed(session: httpx.AsyncClient, path: str) -> None:
    """Read a stream that the server must break off; fail if it ends properly."""
    async with session.stream("GET", path) as answer:
        assert answer.status_code == 200, path
        try:
            async for _ in answer.aiter_raw():
                pass
        except httpx.RemoteProtocolError:
            return
    raise AssertionError(f"{path} came to a good end")
