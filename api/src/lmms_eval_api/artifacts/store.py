"""The object store as this package reads it, with an end to every wait; errors become answers here."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Final, Protocol, TypeVar

from starlette.exceptions import HTTPException

from lmms_eval_api.problems import make_unavailable
from lmms_eval_core.store.errors import ObjectMissing, StoreError, Unreachable
from lmms_eval_core.store.objects import StoredObject

# The chart's gateway answers in milliseconds; a store across the world in one second.
READ_SECONDS: Final = 10.0
NO_STORE: Final = "This front end knows no object store (LMMS_EVAL_STORE_URL): files of jobs cannot be read through it."

T = TypeVar("T")

log = logging.getLogger(__name__)


class Store(Protocol):
    """The part of `ObjectStore` that is used here. Every method raises StoreError."""

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """A small object."""

    def stream(self, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """An object of any size."""

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """What lies below a prefix."""


class Unusable(StoreError):
    """What is stored under this key is none of ours, or takes too much to be shown; nobody gains by asking again."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(key, why)
        self.why = why

    def __str__(self) -> str:
        return ": ".join(self.args)


async def within(seconds: float, reading: Awaitable[T]) -> T:
    """What is read, or Unreachable when it takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except TimeoutError:
        raise Unreachable(f"the object store did not answer in {seconds:.0f} s") from None


async def pieces(store: Store, key: str, *, start: int = 0) -> AsyncGenerator[bytes, None]:
    """An object's bytes, none of them waited for longer than `READ_SECONDS`."""
    stream = store.stream(key, start=start)
    while (piece := await within(READ_SECONDS, anext(stream, None))) is not None:
        yield piece


def problem(error: StoreError, missing: str) -> HTTPException:
    """What the error means to a caller; `missing` is said where the object is not there. Why it is so, only our log tells."""
    if isinstance(error, ObjectMissing):
        return HTTPException(404, missing)
    if isinstance(error, Unusable):
        return HTTPException(502, f"What is stored of this job cannot be shown: {error.why}.")
    log.warning("the object store cannot be read", extra={"error": str(error)})
    return make_unavailable("The object store cannot be read now; nothing in it is lost. Try again.")
