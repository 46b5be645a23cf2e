"""Mirrors a collection of the API server into callbacks, by a list and then a watch.

A list replaces everything, so objects that vanished unseen are removed; 410 or any error means list again, with a
jittered back-off. What a mirror keeps of each object is its `projection`, so that the list never stands in memory
whole.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from lmms_eval_core.kube import errors
from lmms_eval_core.kube.client import KubeClient, Object, Resource

FIRST_BACKOFF = 0.2
LAST_BACKOFF = 15.0
# A long list is taken in by so many objects at a time: between them, the next page is asked for, and others are served.
CHUNK = 50

Kept = TypeVar("Kept")


class Mirror(Protocol[Kept]):
    """The callbacks of a reflector."""

    def replace(self, items: list[Kept]) -> None:
        """Take the whole collection, as of now."""

    def update(self, item: Kept) -> None:
        """Take one object that was added or changed."""

    def remove(self, item: Kept) -> None:
        """Remove one object."""


@dataclass
class Reflector(Generic[Kept]):
    """Runs until cancelled. `synced` is set after the first list.

    `age()` grows up to a minute on a quiet, healthy watch; `stale_for()` says by how much the mirror may be out of
    date, and `lost_for()` for how long nobody has watched.
    """

    client: KubeClient
    resource: Resource
    mirror: Mirror[Kept]
    projection: Callable[[Object], Kept]
    label_selector: str = ""
    field_selector: str = ""
    shares: Sequence[str] = ()
    """See `KubeClient.pages`."""
    clock: Callable[[], float] = time.monotonic
    log: Callable[[str], None] = lambda message: None
    restored: Callable[[], None] = lambda: None
    """Called before a list of another history is taken: versions that were known mean nothing any more."""
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _last_contact: float = float("-inf")
    _watching: bool = False
    _lost: float = float("-inf")
    _version: int = 0
    _listed_version: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    def age(self) -> float:
        """Seconds since the last list, event or bookmark; infinite before the first list."""
        return self.clock() - self._last_contact

    def stale_for(self) -> float:
        """Seconds since the last event of a watch that was lost: 0 while there is one, infinite before
        the first list.
        """
        return 0.0 if self._watching else self.age()

    def lost_for(self) -> float:
        """Seconds since the watch was found lost, which may have been quiet long before; else as `stale_for`."""
        return 0.0 if self._watching else self.clock() - self._lost

    @property
    def version(self) -> int:
        """The resourceVersion up to which the mirror has everything."""
        return self._version

    @property
    def listed_version(self) -> int:
        """The resourceVersion of the last list: of what was deleted before it, no event has come."""
        return self._listed_version

    def knows(self, version: int) -> bool:
        """Return whether the mirror has everything that happened up to this resourceVersion."""
        return version <= self._version

    async def caught_up(self, version: int, *, timeout: float) -> bool:
        """Wait until the mirror knows this resourceVersion; return whether it does, in time."""
        if self.knows(version):
            return True
        try:
            async with asyncio.timeout(timeout):
                while not self.knows(version):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Mirror until cancelled."""
        backoff = FIRST_BACKOFF
        while True:
            started = self.clock()
            try:
                await self._list_and_watch()
            except errors.KubeError as error:
                self._record_loss()
                self.log(f"watch of {self.resource.plural} ended: {error.message}")
            if self.clock() - started > LAST_BACKOFF:
                backoff = FIRST_BACKOFF
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))
            backoff = min(backoff * 2, LAST_BACKOFF)

    async def _list_and_watch(self) -> None:
        selectors = {"label_selector": self.label_selector, "field_selector": self.field_selector}
        version = await self._list(selectors)
        while True:
            # The server ends every watch after some minutes; the next one goes on where it ended.
            started = self.clock()
            async for event in self.client.watch(self.resource, resource_version=version, **selectors):
                self._record_contact()
                version = event.object["metadata"]["resourceVersion"]
                self._update_mirror(event.type, event.object)
                self._record_version(version)
            if self.clock() - started < FIRST_BACKOFF:
                raise errors.Unavailable("the API server ended the watch at once")

    async def _list(self, selectors: dict[str, str]) -> str:
        items: list[Kept] = []
        version, known = "", self._version
        async for page in self.client.pages(self.resource, **selectors, shares=self.shares):
            if int(page.resource_version) < known:
                # No list is older than what was known when it was asked for, unless the API server's storage was
                # restored.
                known = 0
                self.restored()
            for item in page.items:
                items.append(self.projection(item))
                if len(items) % CHUNK == 0:
                    await asyncio.sleep(0)
            version = page.resource_version
        self.mirror.replace(items)
        self._listed_version = int(version)
        self._record_version(version)
        self._record_contact()
        self.synced.set()
        self._watching = True
        return version

    def _record_loss(self) -> None:
        if self._watching:
            self._watching, self._lost = False, self.clock()

    def _record_contact(self) -> None:
        self._last_contact = self.clock()

    def _record_version(self, version: str) -> None:
        self._version = int(version)
        self._moved.set()
        self._moved = asyncio.Event()

    def _update_mirror(self, kind: str, item: Object) -> None:
        if kind == "DELETED":
            self.mirror.remove(self.projection(item))
        elif kind != "BOOKMARK":
            self.mirror.update(self.projection(item))
