"""An object store in memory, as the front end reads it, which counts what it is asked for."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from lmms_eval_core.store.errors import ObjectMissing, StoreError, TooLarge, Unreachable
from lmms_eval_core.store.objects import Beginning, StoredObject, Tail

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryStore:
    """Objects by key. `lists` and `reads` hold what was asked for, `is_away` makes every call fail."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.lists: list[str] = []
        self.reads: list[str] = []
        self.is_away = False

    @property
    def calls(self) -> int:
        """Number of calls so far."""
        return len(self.lists) + len(self.reads)

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """See `ObjectStore`."""
        content = self._read(key)
        if len(content) > max_bytes:
            raise TooLarge(key)
        return content

    async def stream(self, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """See `ObjectStore`."""
        content = self._read(key)
        if start and start >= len(content):
            raise StoreError(key)
        yield content[start:]

    async def tail(self, key: str, *, length: int) -> Tail:
        """See `ObjectStore`."""
        content = self._read(key)
        return Tail(content[-length:], len(content))

    async def begin(self, key: str, *, length: int) -> Beginning:
        """See `ObjectStore`."""
        content = self._read(key)
        if not content:
            raise StoreError(key)
        return Beginning(content[:length], len(content))

    async def range(self, key: str, *, start: int, length: int) -> bytes:
        """See `ObjectStore`."""
        content = self._read(key)
        if start >= len(content):
            raise StoreError(key)
        return content[start : start + length]

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See `ObjectStore`."""
        self.lists.append(prefix)
        self._check()
        for key in sorted(self.objects):
            if key.startswith(prefix.rstrip("/") + "/"):
                yield StoredObject(key, len(self.objects[key]), MOMENT)

    def _read(self, key: str) -> bytes:
        self.reads.append(key)
        self._check()
        if key not in self.objects:
            raise ObjectMissing(key)
        return self.objects[key]

    def _check(self) -> None:
        if self.is_away:
            raise Unreachable("the store is away")
