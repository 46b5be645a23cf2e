"""A `KubeClient` that times its requests to the API server; `metrics` keeps the numbers, `main` puts it in between."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import PODS, KubeClient, Object, ObjectList, ObjectPage, Patch, Resource, WatchEvent


class RequestListener(Protocol):
    """Called with every answer: "ok", or the error's class in small letters, and the seconds that it took."""

    def __call__(self, resource: Resource, verb: str, *, result: str, seconds: float) -> None:
        """Take one answer."""


class MeteredClient:
    """See `KubeClient`. Watches and lists in pages last as long as their readers; they are passed on unmeasured."""

    def __init__(self, client: KubeClient, on_answer: RequestListener, clock: Callable[[], float]) -> None:
        self._client = client
        self._on_answer = on_answer
        self._clock = clock

    @property
    def namespace(self) -> str:
        """See `KubeClient`."""
        return self._client.namespace

    async def get(self, resource: Resource, name: str) -> Object:
        """See `KubeClient`."""
        with self._timed(resource, "get"):
            return await self._client.get(resource, name)

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> ObjectList:
        """See `KubeClient`."""
        with self._timed(resource, "list"):
            return await self._client.list(resource, label_selector=label_selector, field_selector=field_selector)

    def pages(
        self, resource: Resource, *, label_selector: str = "", field_selector: str = "", shares: Sequence[str] = ()
    ) -> AsyncIterator[ObjectPage]:
        """See `KubeClient`."""
        return self._client.pages(resource, label_selector=label_selector, field_selector=field_selector, shares=shares)

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """See `KubeClient`."""
        with self._timed(resource, "create"):
            return await self._client.create(resource, body, dry_run=dry_run)

    async def replace(self, resource: Resource, body: Object) -> Object:
        """See `KubeClient`."""
        with self._timed(resource, "replace"):
            return await self._client.replace(resource, body)

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        """See `KubeClient`."""
        with self._timed(resource, "patch"):
            return await self._client.json_patch(resource, name, patch, subresource=subresource)

    async def delete(
        self, resource: Resource, name: str, *, uid: str, resource_version: str = "", propagation: str = "Background"
    ) -> None:
        """See `KubeClient`."""
        with self._timed(resource, "delete"):
            await self._client.delete(
                resource, name, uid=uid, resource_version=resource_version, propagation=propagation
            )

    def watch(
        self, resource: Resource, *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """See `KubeClient`."""
        return self._client.watch(
            resource, resource_version=resource_version, label_selector=label_selector, field_selector=field_selector
        )

    async def pod_log(self, name: str, *, container: str, tail_lines: int) -> str:
        """See `KubeClient`."""
        with self._timed(PODS, "get"):
            return await self._client.pod_log(name, container=container, tail_lines=tail_lines)

    def pod_log_stream(
        self, name: str, *, container: str, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """See `KubeClient`."""
        return self._client.pod_log_stream(name, container=container, follow=follow, tail_lines=tail_lines)

    async def close(self) -> None:
        """See `KubeClient`."""
        await self._client.close()

    @contextmanager
    def _timed(self, resource: Resource, verb: str) -> Iterator[None]:
        began, result = self._clock(), "ok"
        try:
            yield
        except errors.KubeError as error:
            result = type(error).__name__.lower()
            raise
        finally:
            self._on_answer(resource, verb, result=result, seconds=self._clock() - began)
