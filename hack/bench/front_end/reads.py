"""What callers ask most: one job, any of all that wait, and the queue; ours and the original in turns.

Ours keeps answers until they change: of the three rounds, the first one makes them.
"""

import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

from bench.front_end.load import per_second
from bench.front_end.servers import Server
from bench.rows import Row

ROUNDS: Final = 3
# The original looks at every job for each answer: the target is for as many as there may be.
TARGET: Final = 20.0
TARGET_SIZE: Final = 10_000


class Side(NamedTuple):
    """A server, and the ids of what waits in it."""

    server: Server
    jobs: Sequence[str]

    def per_second(self, path: str) -> float:
        """Answers a second, for a path in which `{id}` stands for any job."""
        return per_second(self.server, [path.replace("{id}", job) for job in self.jobs] if "{id}" in path else [path])


def measure(size: int, ours: Side, original: Side) -> list[Row]:
    """Answers a second with `size` jobs queued."""
    target = TARGET if size >= TARGET_SIZE else None
    return [row for path in ("/jobs/{id}", "/queue") for row in _compared(size, path, target, ours, original)]


def _compared(size: int, path: str, target: float | None, ours: Side, original: Side) -> list[Row]:
    name = f"{size} queued: GET {path}"
    rounds = [(ours.per_second(path), original.per_second(path)) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / theirs for mine, theirs in rounds)
    rate, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
    return [
        Row(name, rate, "1/s"),
        Row(f"{name}, as a multiple of lmms-eval's server", ratio, "x", target, f"which answers {floor:.0f} a second", more=True),
    ]
