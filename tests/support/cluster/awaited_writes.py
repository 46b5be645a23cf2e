"""`AwaitedTransport`: a client whose writes can be read through the front ends of a test as soon as they return.

A front end answers from a watch cache. Without this, a test that writes to the API server and asks a front end at once
would compare it with a state that it has not heard of yet.
"""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from lmms_eval_core.kube.client import EVALUATIONS, Object, Patch, Resource
from lmms_eval_core.kube.configuration import Configuration
from lmms_eval_core.kube.transport import Transport


class Reader(Protocol):
    """What reads evaluations from a cache."""

    async def wait_for_version(self, version: str) -> None:
        """Wait until its answers contain the write of this resourceVersion."""

    async def wait_for_deletion(self, name: str) -> None:
        """Wait until its answers do not know the evaluation any more."""


class AwaitedTransport(Transport):
    """A client that waits after each write of an evaluation until all `readers` know it."""

    def __init__(self, configuration: Configuration, namespace: str, readers: Sequence[Reader]) -> None:
        """`readers` may grow."""
        super().__init__(configuration, namespace)
        self._readers = readers

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """See `KubeClient`."""
        made = super().create(resource, body, dry_run=dry_run)
        return await made if dry_run else await self._wait_for(resource, made)

    async def replace(self, resource: Resource, body: Object) -> Object:
        """See `KubeClient`."""
        return await self._wait_for(resource, super().replace(resource, body))

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        """See `KubeClient`."""
        return await self._wait_for(resource, super().json_patch(resource, name, patch, subresource=subresource))

    async def delete(
        self, resource: Resource, name: str, *, uid: str, resource_version: str = "", propagation: str = "Background"
    ) -> None:
        """See `KubeClient`."""
        await super().delete(resource, name, uid=uid, resource_version=resource_version, propagation=propagation)
        for reader in self._readers if resource == EVALUATIONS else ():
            await reader.wait_for_deletion(name)

    async def _wait_for(self, resource: Resource, write: Awaitable[Object]) -> Object:
        written = await write
        for reader in self._readers if resource == EVALUATIONS else ():
            await reader.wait_for_version(written["metadata"]["resourceVersion"])
        return written
