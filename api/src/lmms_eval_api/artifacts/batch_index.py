"""Which batches an attempt has answered, in ten bytes each. Pure.

An attempt goes on with the answers of earlier ones, but it asks again for those that it could not have, and for all
where it starts anew. Such a batch has the same id in both journals.
"""

from typing import Final

ID_BYTES: Final = 10
BUCKETS: Final = 512
# An index keeps no more: what is beyond may be shown a second time.
MAX_BATCHES: Final = 2_000_000
# Of a bucket, beside its ids.
_BUCKET_BYTES: Final = 200


class BatchIndex:
    """A set of ids. A Python set of a million of them takes 100 MB, and this one 12 MB."""

    def __init__(self) -> None:
        # By a hash that no run can foresee: ids that are much alike would otherwise share a bucket, which is searched.
        self._buckets: dict[int, bytearray] = {}
        self._count = 0

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        return self._count * ID_BYTES + len(self._buckets) * _BUCKET_BYTES

    def __contains__(self, batch: bytes) -> bool:
        """Whether the id was added."""
        bucket = self._buckets.get(_find_bucket(batch), b"")
        at = bucket.find(batch)
        while at % ID_BYTES and at >= 0:
            at = bucket.find(batch, at + 1)
        return at >= 0

    def add(self, ids: bytes) -> None:
        """Add ids, which stand one behind the other."""
        for start in range(0, len(ids), ID_BYTES):
            if self._count == MAX_BATCHES:
                return
            batch = ids[start : start + ID_BYTES]
            self._buckets.setdefault(_find_bucket(batch), bytearray()).extend(batch)
            self._count += 1


def _find_bucket(batch: bytes) -> int:
    return hash(batch) % BUCKETS
