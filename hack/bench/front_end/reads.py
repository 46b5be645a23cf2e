"""What callers ask most: one job, any of all that wait, and the queue.

Ours stands beside two others, in turns: the original, and the limit, which is a bare uvicorn application that gives the
same bytes without looking at anything. Ours keeps responses until they change; the limit's are recorded from it, which
makes them.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from bench.front_end import servers
from bench.front_end.load import per_second
from bench.front_end.servers import BenchServer
from bench.rows import Row

PATHS: Final = ("/jobs/{id}", "/queue")
ROUNDS: Final = 3
# The original looks at every job for each answer: the target is for as many as there may be.
TARGET: Final = 20.0
TARGET_SIZE: Final = 10_000
# Of the limit. What authentication, limits, metrics and a line of log cost is in the rest.
SHARE: Final = 0.35
# A share at ten thousand jobs is to be that at a hundred; medians of three rounds on a shared machine differ by up to a
# tenth.
NOISE: Final = 0.1
SHARE_OF_LIMIT: Final = "as a share of the limit"


class MeasuredServer(NamedTuple):
    """A server, and the ids of what waits in it."""

    server: BenchServer
    jobs: Sequence[str]

    def per_second(self, path: str) -> float:
        """Answers a second, for a path in which `{id}` stands for any job."""
        return per_second(self.server, self.paths(path))

    def paths(self, path: str) -> list[str]:
        """The paths that it stands for."""
        return [path.replace("{id}", job) for job in self.jobs] if "{id}" in path else [path]


def measure(size: int, ours: MeasuredServer, original: MeasuredServer) -> list[Row]:
    """Answers a second with `size` jobs queued."""
    with servers.limit(ours.server, [one for path in PATHS for one in ours.paths(path)]) as limit:
        return [
            row for path in PATHS for row in _compared(size, path, ours, original, MeasuredServer(limit, ours.jobs))
        ]


def _compared(size: int, path: str, ours: MeasuredServer, original: MeasuredServer, limit: MeasuredServer) -> list[Row]:
    rounds = [[side.per_second(path) for side in (ours, original, limit)] for _ in range(ROUNDS)]
    ratio = statistics.median(mine / theirs for mine, theirs, _ in rounds)
    share = statistics.median(mine / most for mine, _, most in rounds)
    rate, floor, most = (statistics.median(column) for column in zip(*rounds, strict=True))
    target = TARGET if size >= TARGET_SIZE else None
    name = _name(size, path)
    return [
        Row(name, rate, "1/s"),
        Row(
            f"{name}, as a multiple of lmms-eval's server",
            ratio,
            "x",
            target,
            f"which answers {floor:.0f} a second",
            more=True,
        ),
        Row(
            f"{name}, {SHARE_OF_LIMIT}", share, "", SHARE, f"a bare uvicorn application: {most:.0f} a second", more=True
        ),
    ]


def by_size(found: Iterable[Row], sizes: Sequence[int]) -> list[Row]:
    """Whether many jobs cost more than few, from the rows of `measure`; nothing where one size was measured."""
    shares = {row.name: row.value for row in found}
    most, least = max(sizes), min(sizes)
    return [
        Row(
            f"GET {path}: share of the limit at {most} queued, of that at {least}",
            shares[f"{_name(most, path)}, {SHARE_OF_LIMIT}"] / shares[f"{_name(least, path)}, {SHARE_OF_LIMIT}"],
            "x",
            1 - NOISE,
            f"1, less {NOISE:.0%} of noise",
            more=True,
        )
        for path in PATHS
        if most > least
    ]


def _name(size: int, path: str) -> str:
    return f"{size} queued: GET {path}"
