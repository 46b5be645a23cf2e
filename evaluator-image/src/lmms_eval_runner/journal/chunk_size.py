"""How many batches are asked for at once: about a second of work, so that little is lost with a process. Pure."""

from typing import Final

TARGET_SECONDS: Final = 1.0
# Clients that keep many requests under way run dry at the end of each call.
CONCURRENT_SECONDS: Final = 20.0
CONCURRENT_ROUNDS: Final = 8
# Where every completion is kept as it arrives, a chunk is for those who read along.
TAPPED_SECONDS: Final = 60.0
TAPPED_ROUNDS: Final = 256


class ChunkSize:
    """The number of batches of the next chunk: it begins with one batch, and at most doubles.

    `concurrency` is how many requests the adapter has under way beside its batches; `tapped`, whether each of their
    completions is kept.
    """

    def __init__(self, *, concurrency: int = 1, tapped: bool = False) -> None:
        self._least, self._most, self._target = 1, 0, TARGET_SECONDS
        if concurrency > 1:
            self._least, self._target = CONCURRENT_ROUNDS * concurrency, CONCURRENT_SECONDS
            if tapped:
                self._most, self._target = TAPPED_ROUNDS * concurrency, TAPPED_SECONDS
        self.count = self._least

    def record(self, seconds: float, count: int) -> None:
        """Take how long a chunk of `count` batches took."""
        fitting = int(count * self._target / max(seconds, 1e-6))
        self.count = max(self._least, min(2 * self.count, fitting))
        if self._most:
            self.count = min(self.count, self._most)
