"""Reads media of samples: whether a run shows a file, of which type and size it is, and its bytes.

A file is in the pool of the namespace, for all of its runs. Who may read a run reads those files alone that its samples
or its answers show.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable
from typing import Final, NamedTuple, TypeVar

from lmms_eval_api.artifacts.media_digests import MediaDigests
from lmms_eval_api.artifacts.media_journals import MediaJournals
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, read_within
from lmms_eval_core import layout
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.media_types import MediaType, find_media_type
from lmms_eval_core.store.errors import ObjectMissing, StoreError

T = TypeVar("T")

# What is read, and held for a caller, at once: most images are smaller.
PIECE_BYTES: Final = 512 * 1024
READS_AT_ONCE: Final = 32
KEPT_TYPES: Final = 10_000


class MediaFile(NamedTuple):
    """A file of the pool; `beginning` are its first bytes, where they have just been read."""

    key: str
    type: MediaType
    size: int
    beginning: bytes = b""


class NoMedia(StoreError):
    """What is stored is no file that a browser is to show."""


class MediaReader:
    """Every method raises StoreError."""

    def __init__(self, store: ArtifactStore, journals: MediaJournals) -> None:
        self._store = store
        self._journals = journals
        self._digests = MediaDigests(store)
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        # A file of this name never changes.
        self._known: OrderedDict[str, MediaFile] = OrderedDict()

    async def is_shown(self, newest: ArtifactPrefix, digest: str) -> bool:
        """Return whether samples of an attempt show a file; where it has none, the answers up to that attempt."""
        wanted = bytes.fromhex(digest)
        found = await self._digests.contains(newest.file(layout.MEDIA_DIGESTS), wanted)
        return await self._journals.is_shown(newest, wanted) if found is None else found

    async def open(self, namespace: str, digest: str) -> MediaFile:
        """Return a file of the pool. Raises ObjectMissing, and NoMedia."""
        key = layout.media_object(namespace, digest)
        known = self._known.get(key)
        if known is not None:
            return known
        try:
            found = await self._ask(self._store.begin(key, length=PIECE_BYTES))
        except StoreError as error:
            # Without a class of its own: it is empty.
            raise NoMedia(key) if type(error) is StoreError else error from None
        media_type = find_media_type(found.content)
        if media_type is None:
            raise NoMedia(key)
        file = self._known[key] = MediaFile(key, media_type, found.size)
        if len(self._known) > KEPT_TYPES:
            self._known.popitem(last=False)
        return file._replace(beginning=found.content)

    async def stream(self, file: MediaFile, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from `start` to `end`, which are not equal."""
        while start < end:
            piece = file.beginning[start:end]
            if not piece:
                piece = await self._ask(self._store.range(file.key, start=start, length=min(PIECE_BYTES, end - start)))
            if not piece:
                raise ObjectMissing(file.key)
            start += len(piece)
            yield piece

    async def _ask(self, reading: Awaitable[T]) -> T:
        async with self._reads:
            return await read_within(READ_SECONDS, reading)
