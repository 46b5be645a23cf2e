"""The few calls that bringing up a cluster needs from its API server, with the administrator's certificate."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from .console import ClusterError
from .settings import API_PORT, Cluster

Json = Any  # whatever a JSON text holds


class Api:
    """A connection to one cluster's API server."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._base = f"https://{address}:{API_PORT}"
        context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        context.load_cert_chain(cluster.pki / "admin.crt", cluster.pki / "admin.key")
        direct = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))

    def get(self, path: str) -> Json:
        """Read one path; None if the server does not answer or has nothing there."""
        try:
            return self._send("GET", path)
        except (urllib.error.URLError, OSError):
            return None

    def create(self, path: str, body: Json) -> None:
        """Create an object; one that is there already stays as it is."""
        try:
            self._send("POST", path, body)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise

    def patch(self, path: str, body: Json) -> None:
        """Change an object by a merge patch."""
        self._send("PATCH", path, body)

    def ready(self) -> bool:
        """Say whether the server serves."""
        return self.get("/readyz") is not None

    def _send(self, method: str, path: str, body: Json = None) -> Json:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": kind}, method=method)
        with self._opener.open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text.decode()


def wait_for(
    what: str, condition: Callable[[], bool], *, alive: Callable[[], None] = lambda: None, seconds: float = 60
) -> None:
    """Wait until a condition holds; `alive` raises when waiting has become pointless.

    Raises ClusterError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        alive()
        if time.monotonic() > deadline:
            raise ClusterError(f"Waited {seconds:.0f} s in vain for {what}.")
        time.sleep(0.1)
