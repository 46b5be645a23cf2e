"""Answers that last, as a client sees their end."""

import httpx
from api_fixtures import FrontEnd


def following(front_end: FrontEnd, token: str) -> httpx.AsyncClient:
    """A client that waits for ever."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=front_end.url, headers=headers, timeout=None, trust_env=False)


async def severed(session: httpx.AsyncClient, path: str) -> None:
    """Reads an answer that must break off."""
    async with session.stream("GET", path) as answer:
        assert answer.status_code == 200, path
        try:
            async for _ in answer.aiter_raw():
                pass
        except httpx.RemoteProtocolError:
            return
    raise AssertionError(f"{path} came to a good end")
