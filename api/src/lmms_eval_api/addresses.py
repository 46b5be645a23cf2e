"""Under which address a request came: its scheme, its host, and whether that is this machine."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

LOOPBACK_NAME: Final = "localhost"


def is_https(connection: HTTPConnection) -> bool:
    """Whether the caller came by https; a proxy that ends TLS says so in X-Forwarded-Proto."""
    return connection.url.scheme == "https" or connection.headers.get("x-forwarded-proto") == "https"


def read_base_url(connection: HTTPConnection) -> str:
    """Return scheme, host and path prefix of the request, without a slash at the end.

    A caller who forges X-Forwarded-Proto, or Host, only gets wrong links.
    """
    url = connection.base_url
    if is_https(connection):
        url = url.replace(scheme="https")
    return str(url).rstrip("/")


def read_host_name(host: str) -> str:
    """Return the name or address in a Host header, in lower case, without its port; empty if it is malformed."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_numeric(name: str) -> bool:
    """Whether the name is an IP address, which no name server can make point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether the name is that of the machine on which it is used, as browsers see it."""
    if is_numeric(name):
        return ipaddress.ip_address(name).is_loopback
    return name == LOOPBACK_NAME or name.endswith(f".{LOOPBACK_NAME}")
