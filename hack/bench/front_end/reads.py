"""What callers ask most: one job, and the queue; ours and the original in turns."""

import statistics
from typing import Final

from bench.front_end.load import per_second
from bench.front_end.servers import Server
from bench.rows import Row

ROUNDS: Final = 3
# The original looks at every job for each answer: the target is for as many as there may be.
TARGET: Final = 20.0
TARGET_SIZE: Final = 10_000


def measure(size: int, ours: Server, original: Server, jobs: tuple[str, str]) -> list[Row]:
    """Answers a second with `size` jobs queued; `jobs` are the ids of one in the middle of each queue."""
    mine, theirs = jobs
    target = TARGET if size >= TARGET_SIZE else None
    return [
        *_compared(f"{size} queued: GET /jobs/{{id}}", target, (ours, f"/jobs/{mine}"), (original, f"/jobs/{theirs}")),
        *_compared(f"{size} queued: GET /queue", target, (ours, "/queue"), (original, "/queue")),
    ]


def _compared(name: str, target: float | None, ours: tuple[Server, str], original: tuple[Server, str]) -> list[Row]:
    rounds = [(per_second(*ours), per_second(*original)) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / theirs for mine, theirs in rounds)
    rate, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
    return [
        Row(name, rate, "1/s"),
        Row(f"{name}, as a multiple of lmms-eval's server", ratio, "x", target, f"which answers {floor:.0f} a second", more=True),
    ]
