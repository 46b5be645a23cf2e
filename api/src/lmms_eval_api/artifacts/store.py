"""The object store as this package reads it, with a limit to every wait; and what its errors mean to a caller."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Final, Protocol, TypeVar

from starlette.exceptions import HTTPException

from lmms_eval_api.problems import make_unavailable
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable
from lmms_eval_core.store.objects import Beginning, StoredObject, Tail

# The chart's gateway answers in milliseconds; a store across the world in one second.
READ_SECONDS: Final = 10.0
NO_STORE: Final = "This front end knows no object store (LMMS_EVAL_STORE_URL): files of jobs cannot be read through it."

T = TypeVar("T")

log = logging.getLogger(__name__)


class ArtifactStore(Protocol):
    """The part of `ObjectStore` that this package uses. Every method raises StoreError."""

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return a small object."""

    def stream(self, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """Yield an object of any size."""

    async def tail(self, key: str, *, length: int) -> Tail:
        """Return the last bytes of an object, and its size."""

    async def begin(self, key: str, *, length: int) -> Beginning:
        """Return the first bytes of an object, and its size."""

    async def range(self, key: str, *, start: int, length: int) -> bytes:
        """Return a part of an object."""

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield the objects below a prefix."""


class UnusableArtifact(StoreError):
    """What is stored under this key was not written by us, or is too large to be shown; asking again would not help."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(key, why)
        self.why = why

    def __str__(self) -> str:
        return ": ".join(self.args)


async def read_within(seconds: float, reading: Awaitable[T]) -> T:
    """Return what is read. Raises Unreachable after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise Unreachable(f"the object store did not answer in {seconds:.0f} s") from None


async def stream_pieces(store: ArtifactStore, key: str, *, start: int = 0) -> AsyncGenerator[bytes, None]:
    """Yield an object's bytes, waiting at most `READ_SECONDS` for each piece."""
    stream = store.stream(key, start=start)
    while (piece := await read_within(READ_SECONDS, anext(stream, None))) is not None:
        yield piece


def make_store_problem(error: StoreError, missing: str) -> HTTPException:
    """Return what the error means to a caller: `missing` where the object does not exist. The cause is only logged."""
    if isinstance(error, ObjectMissing):
        return HTTPException(404, missing)
    if isinstance(error, UnusableArtifact):
        return HTTPException(502, f"What is stored of this job cannot be shown: {error.why}.")
    log.warning("the object store cannot be read", extra={"error": str(error)})
    return make_unavailable("The object store cannot be read now; nothing in it is lost. Try again.")
