"""`KubeClient` over aiohttp: objects are the JSON of the API server, read by msgspec.

Generated models are left aside: they cost a second per thousand objects and refuse what they do not know.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode
from weakref import WeakSet

import aiohttp
import msgspec

from lmms_eval_core.kube import configuration, errors
from lmms_eval_core.kube.client import PODS, Object, ObjectList, ObjectPage, Patch, Resource, WatchEvent
from lmms_eval_core.kube.configuration import SERVICE_ACCOUNT, Configuration

REQUEST_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 270
# The server sends a bookmark about once a minute, if it has seen any change at all: longer silence may mean that it is
# stuck.
WATCH_IDLE_SECONDS: Final = 90.0
# The connections of calls that are kept open at once.
CALLS: Final = 100
# An event of a watch is one line, which is read whole: an object may have 1.5 MiB.
READ_BYTES: Final = 2 * 1024 * 1024
# A log may be silent for long, so that only a new request tells whether its server is stuck.
LOG_IDLE_SECONDS: Final = 300.0
# A quiet stream is like one whose other end is gone without a word: after 5 s of silence, three probes at 5 s.
PROBES: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    # No probe is sent while a request is not acknowledged.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
)
# The API server looks for the beginning of each page among all objects: many small ones cost it more.
PAGE: Final = 500
# The end of a TLS connection takes a round trip, for which aiohttp does not wait; a busy API server answers late.
TLS_CLOSE_SECONDS: Final = 5.0
TLS_CLOSE_PERIOD: Final = 0.01
# For `gc.set_threshold` of who reads lists. A page of JSON is tens of thousands of containers: at the default of 700,
# collecting garbage was half the time of a list.
GARBAGE_THRESHOLD: Final = 50_000


class _RawList(msgspec.Struct):
    """A list whose objects are not parsed yet: as dicts, 500 of 10 KB would be 70 MiB."""

    items: list[msgspec.Raw]
    metadata: Object


_read_list: Final = msgspec.json.Decoder(_RawList).decode


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    return socket.socket(family, kind, protocol)


def _open_probed_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = _open_socket(address)
    for option in PROBES:
        made.setsockopt(*option)
    return made


class Transport:
    """A `KubeClient`. Made by `connect`."""

    def __init__(
        self,
        configuration: Configuration,
        namespace: str,
        *,
        request_seconds: float = REQUEST_SECONDS,
        on_date: Callable[[str], None] = lambda date: None,
    ) -> None:
        self._configuration = configuration
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._calls = self._open_session(_open_socket, limit=CALLS)
        # Streams stay open: they must not take the pool's connections from the calls.
        self._streams = self._open_session(_open_probed_socket, limit=0)
        self._namespace = namespace
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._on_date = on_date

    @property
    def namespace(self) -> str:
        """See `KubeClient`."""
        return self._namespace

    async def get(self, resource: Resource, name: str) -> Object:
        """See `KubeClient`."""
        return await self._send_json("GET", self._build_url(resource, name))

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> ObjectList:
        """See `KubeClient`."""
        items: list[Object] = []
        version = ""
        async for page in self.pages(resource, label_selector=label_selector, field_selector=field_selector):
            items += page.items
            version = page.resource_version
        return ObjectList(items, version)

    async def pages(
        self, resource: Resource, *, label_selector: str = "", field_selector: str = "", shares: Sequence[str] = ()
    ) -> AsyncIterator[ObjectPage]:
        """See `KubeClient`."""
        first, *others = shares or (field_selector,)
        query = {"labelSelector": label_selector, "limit": str(PAGE // (1 + len(others)))}

        def ask(selector: str, **more: str) -> asyncio.Task[_RawList]:
            return asyncio.create_task(self._read_page(resource, {**query, "fieldSelector": selector, **more}))

        reading = {ask(first): first}
        try:
            while reading:
                await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
                done = next(task for task in reading if task.done())
                share, page = reading.pop(done), done.result()
                version = page.metadata["resourceVersion"]
                if page.metadata.get("continue"):
                    reading[ask(share, **{"continue": page.metadata["continue"]})] = share
                # All of one moment, so that nothing is in two shares, or in none.
                reading |= {
                    ask(other, resourceVersion=version, resourceVersionMatch="Exact"): other for other in others
                }
                others = []
                yield ObjectPage(map(msgspec.json.decode, page.items), version)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _read_page(self, resource: Resource, query: Mapping[str, str]) -> _RawList:
        async with self._request("GET", self._build_url(resource, **query), None, timeout=self._timeout) as response:
            return _read_list(await response.read())

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """See `KubeClient`."""
        query = {"fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
        return await self._send_json("POST", self._build_url(resource, **query), body)

    async def replace(self, resource: Resource, body: Object) -> Object:
        """See `KubeClient`."""
        return await self._send_json("PUT", self._build_url(resource, body["metadata"]["name"]), body)

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        """See `KubeClient`."""
        url = self._build_url(resource, name, subresource)
        return await self._send_json("PATCH", url, list(patch), content_type="application/json-patch+json")

    async def delete(
        self, resource: Resource, name: str, *, uid: str, resource_version: str = "", propagation: str = "Background"
    ) -> None:
        """See `KubeClient`."""
        preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
        options = {"preconditions": preconditions, "propagationPolicy": propagation}
        await self._send_json("DELETE", self._build_url(resource, name), options)

    async def watch(
        self, resource: Resource, *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See `KubeClient`."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
        }
        async with self._stream(self._build_url(resource, **query), idle_seconds=WATCH_IDLE_SECONDS) as response:
            async for line in response.content:
                yield _parse_watch_event(line)

    async def pod_log(self, name: str, *, container: str, tail_lines: int) -> str:
        """See `KubeClient`."""
        url = self._build_url(PODS, name, "log", container=container, tailLines=str(tail_lines))
        async with self._request("GET", url, None, timeout=self._timeout) as response:
            return await response.text(errors="replace")

    async def pod_log_stream(
        self, name: str, *, container: str, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `KubeClient`."""
        options = {"follow": "true" if follow else "", "tailLines": "" if tail_lines is None else str(tail_lines)}
        url = self._build_url(PODS, name, "log", container=container, **options)
        async with self._stream(url, idle_seconds=LOG_IDLE_SECONDS) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def close(self) -> None:
        """See `KubeClient`."""
        await self._calls.close()
        await self._streams.close()
        # The loop may be about to end, and would leave open what is not closed by then.
        for _ in range(int(TLS_CLOSE_SECONDS / TLS_CLOSE_PERIOD)):
            if all(each.fileno() < 0 for each in self._sockets):
                break
            await asyncio.sleep(TLS_CLOSE_PERIOD)

    def _open_session(
        self, make: Callable[[aiohttp.AddrInfoType], socket.socket], *, limit: int
    ) -> aiohttp.ClientSession:
        def open_noted(address: aiohttp.AddrInfoType) -> socket.socket:
            made = make(address)
            self._sockets.add(made)
            return made

        connector = aiohttp.TCPConnector(ssl=self._configuration.ssl_context, limit=limit, socket_factory=open_noted)
        return aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=READ_BYTES)

    def _build_url(self, resource: Resource, *path: str, **query: str) -> str:
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scope = [f"namespaces/{self._namespace}"] if resource.namespaced else []
        text = urlencode({key: value for key, value in query.items() if value})
        url = self._configuration.host + "/".join([root, *scope, resource.plural, *(part for part in path if part)])
        return f"{url}?{text}" if text else url

    async def _send_json(
        self, method: str, url: str, body: Any = None, *, content_type: str = "application/json"
    ) -> Object:
        async with self._request(method, url, body, timeout=self._timeout, content_type=content_type) as response:
            return cast(Object, msgspec.json.decode(await response.read()))

    def _stream(self, url: str, *, idle_seconds: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=idle_seconds)
        return self._request("GET", url, None, timeout=timeout, session=self._streams)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        url: str,
        body: Any,
        *,
        timeout: aiohttp.ClientTimeout,
        content_type: str = "application/json",
        session: aiohttp.ClientSession | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if token := self._configuration.token():
            headers["Authorization"] = f"Bearer {token}"
        options: Any = {"headers": headers, "timeout": timeout, "server_hostname": self._configuration.server_name}
        try:
            async with (session or self._calls).request(method, url, json=body, **options) as response:
                self._on_date(response.headers.get("Date", ""))
                if response.status >= 400:
                    raise await _read_error(response)
                try:
                    yield response
                finally:
                    abort_unread(response)
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            raise errors.Unavailable(f"no answer from the API server: {_describe(error)}") from error


def abort_unread(response: aiohttp.ClientResponse) -> None:
    """Abort a stream that is not read on: a polite end of TLS takes a round trip, and the loop may end before it."""
    if not response.content.at_eof() and response.connection and response.connection.transport:
        response.connection.transport.abort()


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _read_error(response: aiohttp.ClientResponse) -> errors.KubeError:
    text = await response.text(errors="replace")
    try:
        status = msgspec.json.decode(text)
    except msgspec.DecodeError:
        status = {"message": text.strip()[:500]}
    delay = response.headers.get("Retry-After", "")
    return errors.make_error(
        response.status,
        status if isinstance(status, dict) else {},
        retry_after=float(delay) if delay.isdigit() else 1.0,
    )


def _parse_watch_event(line: bytes) -> WatchEvent:
    event = msgspec.json.decode(line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise errors.make_error(int(status.get("code") or 500), status)
    return WatchEvent(event["type"], event["object"])


async def connect(
    *,
    namespace: str = "",
    kubeconfig: str = "",
    token_file: Path | None = None,
    ca_file: Path | None = None,
    request_seconds: float = REQUEST_SECONDS,
    on_date: Callable[[str], None] = lambda date: None,
) -> Transport:
    """Connect to the cluster that `kubeconfig`, else the variable KUBECONFIG, names; else the one that this pod runs
    in.

    `token_file` and `ca_file` replace the pod's own token, for a projected one. `namespace` defaults to the pod's.
    `on_date` is called with the Date header of each answer, as it begins.
    """
    options: dict[str, Any] = {"request_seconds": request_seconds, "on_date": on_date}
    file = kubeconfig or os.environ.get("KUBECONFIG", "")
    if file and token_file is None:
        return Transport(configuration.load_kubeconfig(file), namespace or "default", **options)
    pod = configuration.load_pod(token_file=token_file, ca_file=ca_file)
    return Transport(pod, namespace or _read_pod_namespace(), **options)


def _read_pod_namespace() -> str:
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if file.exists() else "default"
