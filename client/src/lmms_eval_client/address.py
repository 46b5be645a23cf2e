"""Where the server is and what opens it: arguments, then the URL's own user and password, then the environment.

Pure.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import httpx

ENV_URL: Final = "LMMS_EVAL_URL"
ENV_TOKEN: Final = "LMMS_EVAL_TOKEN"
DEFAULT_URL: Final = "http://localhost:8000"


class Address(NamedTuple):
    """A base URL without user, password or closing slash, and the value of the Authorization header."""

    base_url: str
    authorization: str | None

    def __repr__(self) -> str:
        return f"Address({self.base_url!r})"


def find_address(base_url: str | None, token: str | None, environment: Mapping[str, str]) -> Address:
    """Return the server's address; ValueError for a URL that is none."""
    url = _parse_url(base_url or environment.get(ENV_URL) or DEFAULT_URL)
    bare = str(url.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
    return Address(bare, _format_bearer(token) or _format_basic(url) or _format_bearer(environment.get(ENV_TOKEN)))


def _parse_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise ValueError(f"The server's address is no URL: {error}.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("The server's address must be a whole URL, as https://lmms-eval.example.com.")
    return url


def _format_bearer(token: str | None) -> str | None:
    return f"Bearer {token.strip()}" if token and token.strip() else None


def _format_basic(url: httpx.URL) -> str | None:
    """Return basic authorization as lmms-eval's own client sends it: http://anybody:TOKEN@host."""
    if not url.userinfo:
        return None
    request = httpx.Request("GET", url)
    authorized = next(httpx.BasicAuth(url.username, url.password).auth_flow(request))
    return str(authorized.headers["Authorization"])
