"""What browsers say of a request: whether another site has caused it, whether a person opens a page. Pure.

Browsers send `Sec-Fetch-*` to https and to loopback only. Elsewhere `Origin` has to do, which they send with every
unsafe request. Other programs send neither.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import Scope

from lmms_eval_api.addresses import is_https, is_loopback, is_numeric, read_host_name
from lmms_eval_api.auth.attributes import READ_METHODS, is_page, list_header_values

SITE: Final = b"sec-fetch-site"
MODE: Final = b"sec-fetch-mode"
OTHER_SITES: Final = frozenset({b"cross-site", b"same-site"})
# Pages that run scripts of other origins: a session must not be at their disposal.
WITHOUT_SESSION: Final = ("/docs", "/redoc")


def has_fetch_metadata(scope: Scope) -> bool:
    """Whether the request comes from a browser that describes it."""
    return any(name.startswith(b"sec-fetch-") for name, _ in scope["headers"])


def opens_page(scope: Scope, path: str) -> bool:
    """Whether somebody opens a page of /ui/, by a link or by its address, rather than the page loading a part."""
    if scope["method"] != "GET" or not is_page(path):
        return False
    modes = list_header_values(scope, MODE)
    if modes or has_fetch_metadata(scope):
        return modes == [b"navigate"]
    return any(b"text/html" in value for value in list_header_values(scope, b"accept"))


def is_foreign_write(scope: Scope) -> bool:
    """Whether a page of another origin has caused a request that changes something."""
    if scope["method"] in READ_METHODS:
        return False
    sites = list_header_values(scope, SITE)
    if sites:
        return not OTHER_SITES.isdisjoint(sites)
    return not _has_own_origin(scope)


def may_use_session(scope: Scope, path: str, *, insecure: bool) -> bool:
    """Whether a cookie may speak for the caller: for what the page itself loads, and for opening the page."""
    if path.startswith(WITHOUT_SESSION):
        return False
    sites = list_header_values(scope, SITE)
    if sites:
        return sites == [b"same-origin"] or opens_page(scope, path)
    connection = HTTPConnection(scope)
    if is_https(connection) or not may_sign_in(connection, insecure=insecure):
        return False
    # With every request that changes something, browsers name its origin.
    is_told = scope["method"] in READ_METHODS or bool(list_header_values(scope, b"origin"))
    return is_told and _has_own_origin(scope)


def may_sign_in(connection: HTTPConnection, *, insecure: bool) -> bool:
    """Whether a token and a cookie may travel the way that the request came: by TLS, or within this machine."""
    return insecure or is_protected(connection) or is_loopback(read_host_name(connection.headers.get("host", "")))


def is_protected(connection: HTTPConnection) -> bool:
    """Whether the caller came by https, also where a proxy that ends TLS does not say so, but the browser does."""
    is_local = is_loopback(read_host_name(connection.headers.get("host", "")))
    return is_https(connection) or (has_fetch_metadata(connection.scope) and not is_local)


def find_foreign_host(scope: Scope, hosts: frozenset[str]) -> str | None:
    """Return the name under which the request came if it is none of `hosts`, of loopback and of numeric addresses."""
    for value in list_header_values(scope, b"host"):
        name = read_host_name(value.decode("latin-1"))
        if name not in hosts and not is_loopback(name) and not is_numeric(name):
            return name
    return None


def _has_own_origin(scope: Scope) -> bool:
    """Whether the origin that the request names, if any, is the host to which it was sent."""
    hosts = [value.lower() for value in list_header_values(scope, b"host")]
    origins = list_header_values(scope, b"origin")
    return all(hosts == [_read_authority(origin)] for origin in origins)


def _read_authority(origin: bytes) -> bytes:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return b""
