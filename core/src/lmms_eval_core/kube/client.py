"""The calls that the parts make to the API server: dicts in, dicts out, every precondition explicit. `transport`
implements them.

A namespaced resource is addressed in the client's own namespace: one release serves its own namespace alone.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

from lmms_eval_core import names

Object = dict[str, Any]
Patch = Sequence[dict[str, Any]]


class Resource(NamedTuple):
    """An API resource, as in its URL."""

    group: str
    version: str
    plural: str
    namespaced: bool = True


EVALUATIONS: Final = Resource(names.GROUP, names.VERSION, names.PLURAL)
JOBS: Final = Resource("batch", "v1", "jobs")
PODS: Final = Resource("", "v1", "pods")
EVENTS: Final = Resource("", "v1", "events")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
NAMESPACES: Final = Resource("", "v1", "namespaces", namespaced=False)


class ObjectList(NamedTuple):
    """A complete list, and the version of the collection that a watch continues from."""

    items: list[Object]
    resource_version: str


class ObjectPage(NamedTuple):
    """A page of a list. Its objects can be iterated once: each is parsed when it is asked for."""

    items: Iterable[Object]
    resource_version: str


class WatchEvent(NamedTuple):
    """One event of a watch; a BOOKMARK's object carries only its resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class KubeClient(Protocol):
    """Every method raises `errors.KubeError`."""

    @property
    def namespace(self) -> str:
        """The namespace of every namespaced call."""

    async def get(self, resource: Resource, name: str) -> Object:
        """Read one object from the API server's storage."""

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> ObjectList:
        """List all matching objects, consistent as of one moment."""

    def pages(
        self, resource: Resource, *, label_selector: str = "", field_selector: str = "", shares: Sequence[str] = ()
    ) -> AsyncIterator[ObjectPage]:
        """List page by page, for readers that keep little of each object. Gone if they take too long.

        The next page is read while the reader iterates over this one. `shares` are field selectors that divide the
        collection: they are read side by side, as the API server spends most of a long list on one core, and their
        pages come in any order.
        """

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object; unknown or repeated fields are refused. AlreadyExists if the name is taken."""

    async def replace(self, resource: Resource, body: Object) -> Object:
        """Replace the object that has the name and the resourceVersion in `body`; Conflict if it changed since."""

    async def json_patch(self, resource: Resource, name: str, patch: Patch, *, subresource: str = "") -> Object:
        """Apply a JSON Patch (RFC 6902). Its `test` operations are the precondition: Conflict if one fails."""

    async def delete(
        self, resource: Resource, name: str, *, uid: str, resource_version: str = "", propagation: str = "Background"
    ) -> None:
        """Delete the object of this very uid: Conflict if the name belongs to another by now.

        With `resource_version`, only that very state of it: Conflict if it changed since.
        """

    def watch(
        self, resource: Resource, *, resource_version: str, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Yield events after `resource_version` until the server ends the stream. Gone if it is too old."""

    async def pod_log(self, name: str, *, container: str, tail_lines: int) -> str:
        """Return the last lines of a container's log."""

    def pod_log_stream(
        self, name: str, *, container: str, follow: bool = False, tail_lines: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield a container's log from the first byte that its node still has; with `follow`, until the container has
        ended.

        With `tail_lines`, no more than its last lines and what follows. Invalid while the container has not started.
        Unavailable, to be asked again, after minutes of silence.
        """

    async def close(self) -> None:
        """Close the connections."""
