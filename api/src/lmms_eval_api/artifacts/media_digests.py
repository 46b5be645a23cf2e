"""Reads which media the samples of an attempt show: sorted digests, of which only some pages are looked at.

The digests are hashes, and so spread evenly: where one stands is known to within a page. Whatever the bytes are, the
answer to a question takes a dozen reads at most. A digest that is not where the order has it is not there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from lmms_eval_api.artifacts.byte_cache import ByteCache
from lmms_eval_api.artifacts.sorted_records import find_record
from lmms_eval_api.artifacts.store import READ_SECONDS, ArtifactStore, UnusableArtifact, read_within
from lmms_eval_core.media import DIGEST_BYTES
from lmms_eval_core.store.errors import ObjectMissing, StoreError

# The reporter writes no more.
MAX_BYTES: Final = 64 * 1024 * 1024
PAGE_BYTES: Final = 64 * 1024
# Of all attempts together.
KEPT_BYTES: Final = 16 * 1024 * 1024
KEPT_SIZES: Final = 10_000
# An attempt that runs may have the file a moment later.
ABSENT_SECONDS: Final = 5.0

Value = TypeVar("Value")


class MediaDigests:
    """Every method raises StoreError. A file, once there, never changes."""

    def __init__(self, store: ArtifactStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._pages = ByteCache(KEPT_BYTES)

    async def contains(self, key: str, digest: bytes) -> bool | None:
        """Return whether the file `key` has the digest; None if there is no such file."""
        size = self._sizes.get(key)
        if size is None:
            if self._clock() - self._absent.get(key, -ABSENT_SECONDS) < ABSENT_SECONDS:
                return None
            try:
                size = await self._open(key)
            except ObjectMissing:
                _remember(self._absent, key, self._clock())
                return None
        return await self._search(key, size, digest)

    async def _open(self, key: str) -> int:
        """Return how many bytes of the file are whole digests."""
        try:
            found = await read_within(READ_SECONDS, self._store.begin(key, length=PAGE_BYTES))
        except StoreError as error:
            # Without a class of its own: the file is empty.
            if type(error) is not StoreError:
                raise
            _remember(self._sizes, key, 0)
            return 0
        if found.size > MAX_BYTES:
            raise UnusableArtifact(key, "the list of its media is too long")
        size = found.size // DIGEST_BYTES * DIGEST_BYTES
        _remember(self._sizes, key, size)
        self._pages.put(_name_page(key, 0), found.content[:size])
        return size

    async def _search(self, key: str, size: int, digest: bytes) -> bool:
        low, high = 0, -(-size // PAGE_BYTES)
        page, is_guess = int.from_bytes(digest[:4], "big") * high >> 32, True
        while low < high:
            content = await self._read_page(key, size, page)
            if digest < content[:DIGEST_BYTES]:
                high, near = page, page - 1
            elif digest > content[-DIGEST_BYTES:]:
                low, near = page + 1, page + 1
            else:
                return find_record(content, DIGEST_BYTES, digest) is not None
            page, is_guess = near if is_guess else (low + high) // 2, False
        return False

    async def _read_page(self, key: str, size: int, page: int) -> bytes:
        name, start = _name_page(key, page), page * PAGE_BYTES
        content = self._pages.get(name)
        if content is None:
            length = min(PAGE_BYTES, size - start)
            content = await read_within(READ_SECONDS, self._store.range(key, start=start, length=length))
            if len(content) != length:
                raise UnusableArtifact(key, "the list of its media is cut")
            self._pages.put(name, content)
        return content


def _name_page(key: str, page: int) -> str:
    return f"{key}#{page}"


def _remember(kept: "OrderedDict[str, Value]", key: str, value: Value) -> None:
    kept[key] = value
    if len(kept) > KEPT_SIZES:
        kept.popitem(last=False)
