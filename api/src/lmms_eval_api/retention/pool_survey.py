"""What lies in the pool of media, and which of it may be deleted. Pure; `media_pool` lists and deletes.

A million files take nine megabytes: of each digest eight bytes, and whether a run shows it. Two digests that begin
alike count as one, so that a file may stay, and none goes that is shown.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

BEGINNING_BYTES: Final = 8
# Of files that are old enough; those beyond are left to a later sweep.
MAX_CANDIDATES: Final = 4_000_000
_HOUR: Final = 3600


class PoolFile(NamedTuple):
    """One file, and the Unix time at which it was last put there."""

    digest: str
    size: int
    modified: float


class PoolSurvey:
    """What a list of the pool has shown; a candidate is older than `deadline`, and goes unless it is marked."""

    def __init__(self, deadline: float) -> None:
        self.files = 0
        self.bytes = 0
        self._deadline = deadline
        self._hours: Counter[int] = Counter()
        self._old = array("Q")
        self._marks = bytearray()
        self.unmarked = 0

    def add(self, file: PoolFile) -> None:
        """Count a file that is there."""
        self.files += 1
        self.bytes += file.size
        self._hours[_find_hour(file)] += file.size
        if file.modified <= self._deadline and len(self._old) < MAX_CANDIDATES:
            self._old.append(_read_beginning(file.digest))

    def seal(self) -> None:
        """Take no more files, and begin to be asked. Most stores list in order already."""
        if any(self._old[place] > self._old[place + 1] for place in range(len(self._old) - 1)):
            self._old = array("Q", sorted(self._old))
        self._marks = bytearray(len(self._old))
        self.unmarked = len(self._old)

    def mark(self, digests: Iterable[bytes]) -> None:
        """Keep the candidates with these digests, of which eight bytes are looked at."""
        for digest in digests:
            beginning = int.from_bytes(digest[:BEGINNING_BYTES], "big")
            place = bisect_left(self._old, beginning)
            while place < len(self._old) and self._old[place] == beginning and not self._marks[place]:
                self._marks[place] = 1
                self.unmarked -= 1
                place += 1

    def is_orphan(self, file: PoolFile) -> bool:
        """Whether no run shows the file, and it has not been put there anew since."""
        if file.modified > self._deadline:
            return False
        beginning = _read_beginning(file.digest)
        place = bisect_left(self._old, beginning)
        return place < len(self._old) and self._old[place] == beginning and not self._marks[place]

    def remove(self, file: PoolFile) -> None:
        """Count a file that was deleted."""
        self.files -= 1
        self.bytes -= file.size
        self._hours[_find_hour(file)] -= file.size

    def plan_eviction(self, budget: int) -> "Eviction | None":
        """Return what has to go, the oldest first, so that no more than `budget` bytes are left; None for nothing."""
        excess = self.bytes - budget
        if excess <= 0:
            return None
        for hour in sorted(self._hours):
            if self._hours[hour] >= excess:
                break
            excess -= self._hours[hour]
        return Eviction(hour, excess)


class Eviction:
    """The files of the hours before `hour` go, and of that hour as many as have `rest` bytes."""

    def __init__(self, hour: int, rest: int) -> None:
        self._hour = hour
        self._rest = rest

    def takes(self, file: PoolFile) -> bool:
        """Whether the file goes; asked once for each."""
        hour = _find_hour(file)
        if hour != self._hour or self._rest <= 0:
            return hour < self._hour
        self._rest -= file.size
        return True


def _find_hour(file: PoolFile) -> int:
    return int(file.modified // _HOUR)


def _read_beginning(digest: str) -> int:
    return int(digest[: 2 * BEGINNING_BYTES], 16)
