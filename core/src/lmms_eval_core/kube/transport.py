"""`KubeClient` over the official client's asyncio transport: its configuration, credentials and connections, our raw JSON.

Its generated models are left aside: they cost a second per thousand objects and refuse what they do not know.
"""

import asyncio
import copy
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import client as official
from kubernetes.aio import config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import PODS, Object, ObjectList, ObjectPage, Patch, Resource, WatchEvent

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REQUEST_SECONDS: Final = 15.0
WATCH_SECONDS: Final = 270
# The server sends a bookmark about once a minute, if it has seen any change at all: longer silence may mean that it is stuck.
WATCH_IDLE_SECONDS: Final = 90.0
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
# A request that was given up ends its TLS connection politely, which takes a round trip that aiohttp does not wait for.
TLS_CLOSE_SECONDS: Final = 0.25
# For `gc.set_threshold` of who reads lists. A page of JSON is tens of thousands of containers: at the default of 700, collecting
# garbage was half the time of a list.
GARBAGE_THRESHOLD: Final = 50_000


class _RawList(msgspec.Struct):
    """A list whose objects are not parsed yet: as dicts, 500 of 10 KB would be 70 MiB."""

    items: list[msgspec.Raw]
    metadata: Object


_read_list: Final = msgspec.json.Decoder(_RawList).decode


class _KeepAliveRestClient(official.rest.RESTClientObject):  # type: ignore[misc]  # the official client is not typed
    """Opens connections that end when the other end is gone."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=_open_probed_socket)


def _open_probed_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    for option in PROBES:
        made.setsockopt(*option)
    return made


class Transport:
    """A `KubeClient`. Made by `connect`."""

    def __init__(
        self,
        configuration: Any,
        namespace: str,
        *,
        request_seconds: float = REQUEST_SECONDS,
        on_date: Callable[[str], None] = lambda date: None,
    ) -> None:
        self._api = official.ApiClient(configuration)
        # Streams stay open: they must not take the pool's connections, a hundred, from the calls.
        unlimited = copy.copy(configuration)
        unlimited.connection_pool_maxsize = 0
        self._streams = official.ApiClient(unlimited)
        self._streams.rest_client = _KeepAliveRestClient(unlimited)
        self._host: str = configuration.host.rstrip("/")
        self._namespace = namespace
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._on_date = on_date
        self._aborted = False

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
                reading |= {ask(other, resourceVersion=version, resourceVersionMatch="Exact"): other for other in others}
                others = []
                yield ObjectPage(map(msgspec.json.decode, page.items), version)
        finally:
            for task in reading:
                task.cancel()

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
        await self._api.close()
        await self._streams.close()
        # What was aborted is closed in the next round of the loop, which may be about to end.
        await asyncio.sleep(TLS_CLOSE_SECONDS if self._aborted else 0)

    def _build_url(self, resource: Resource, *path: str, **query: str) -> str:
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        scope = [f"namespaces/{self._namespace}"] if resource.namespaced else []
        text = urlencode({key: value for key, value in query.items() if value})
        url = self._host + "/".join([root, *scope, resource.plural, *(part for part in path if part)])
        return f"{url}?{text}" if text else url

    async def _send_json(self, method: str, url: str, body: Any = None, *, content_type: str = "application/json") -> Object:
        async with self._request(method, url, body, timeout=self._timeout, content_type=content_type) as response:
            return cast(Object, msgspec.json.decode(await response.read()))

    def _stream(self, url: str, *, idle_seconds: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=idle_seconds)
        return self._request("GET", url, None, timeout=timeout, api=self._streams)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        url: str,
        body: Any,
        *,
        timeout: aiohttp.ClientTimeout,
        content_type: str = "application/json",
        api: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        api = api or self._api
        try:
            await api.update_params_for_auth(headers, [], ["BearerToken"], url, method, body)
            answer = await api.call_api(method, url, headers, body, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
            self._on_date(response.headers.get("Date", ""))
            async with response:
                if response.status >= 400:
                    raise await _read_error(response)
                try:
                    yield response
                finally:
                    abort_unread(response)
        except (asyncio.CancelledError, GeneratorExit):
            self._aborted = True
            raise
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            self._aborted = True
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
        response.status, status if isinstance(status, dict) else {}, retry_after=float(delay) if delay.isdigit() else 1.0
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
    """Connect to the cluster that `kubeconfig`, else the variable KUBECONFIG, names; else the one that this pod runs in.

    `token_file` and `ca_file` replace the pod's own token, for a projected one. `namespace` defaults to the pod's. `on_date`
    is called with the Date header of each answer, as it begins.
    """
    options: dict[str, Any] = {"request_seconds": request_seconds, "on_date": on_date}
    configuration = official.Configuration()
    file = kubeconfig or os.environ.get("KUBECONFIG", "")
    if file and token_file is None:
        await config.load_kube_config(config_file=file, client_configuration=configuration)
        return Transport(configuration, namespace or "default", **options)
    token, authority = token_file or SERVICE_ACCOUNT / "token", ca_file or SERVICE_ACCOUNT / "ca.crt"
    InClusterConfigLoader(token_filename=str(token), cert_filename=str(authority)).load_and_set(configuration)
    return Transport(configuration, namespace or _read_pod_namespace(), **options)


def _read_pod_namespace() -> str:
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text().strip() if file.exists() else "default"
