"""What callers ask most: one job, and the queue; ours and the original in turns."""

import statistics
from typing import Final

from bench.front_end.load import per_second
from bench.front_end.servers import Server
from bench.rows import Row

ROUNDS: Final = 3
TARGET: Final = 20.0


def measure(size: int, ours: Server, original: Server, jobs: tuple[str, str]) -> list[Row]:
    """Answers a second with `size` jobs queued; `jobs` are the ids of one in the middle of each queue."""
    mine, theirs = jobs
    return [
        *_compared(f"{size} queued: GET /jobs/{{id}}", (ours, f"/jobs/{mine}"), (original, f"/jobs/{theirs}")),
        *_compared(f"{size} queued: GET /queue", (ours, "/queue"), (original, "/queue")),
    ]


def _compared(name: str, ours: tuple[Server, str], original: tuple[Server, str]) -> list[Row]:
    rounds = [(per_second(*ours), per_second(*original)) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / theirs for mine, theirs in rounds)
    rate, floor = (statistics.median(column) for column in zip(*rounds, strict=True))
    return [
        Row(name, rate, "1/s"),
        Row(f"{name}, as a multiple of lmms-eval's server", ratio, "x", TARGET, f"which answers {floor:.0f} a second", more=True),
    ]
