"""Keeps parts of objects that never change. Pure."""

from collections import OrderedDict


class ByteCache:
    """Keeps what was used last, in so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: str, content: bytes) -> None:
        """Keep something."""
        self._free += len(self._kept.pop(key, b"")) - len(content)
        self._kept[key] = content
        while self._free < 0:
            self._free += len(self._kept.popitem(last=False)[1])
