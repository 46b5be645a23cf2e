"""Comparing two runs: processor time and memory for a million pairs, and the time for five thousand.

`python -m bench.comparison PAIRS` is the process that is measured: it prints the seconds of processor time, and the
most memory that it held, in MiB.
"""

import random
import re
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import Final

from bench.rows import Row, percentile
from lmms_eval_core.compare.columns import DocumentColumns, ValueColumns, pair_documents, sum_pairs
from lmms_eval_core.compare.tasks import LEVEL
from lmms_eval_core.sample_index.format import HASH_BYTES, METRIC_TYPE, pack, split_rows

LARGE: Final = 1_000_000
SMALL: Final = 5_000
# Three questions of each video.
CLUSTER: Final = 3
LARGE_SECONDS, LARGE_MIB, SMALL_MS = 10.0, 96.0, 50.0
ROUNDS: Final = 20


def measure() -> list[Row]:
    """The rows of this part."""
    rows = []
    for name, kind in (("pairs", "plain"), ("pairs in clusters", "clustered")):
        command = [sys.executable, "-m", "bench.comparison", str(LARGE), kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        rows += [
            Row(f"{LARGE:,} {name}: processor time", seconds, "s", LARGE_SECONDS),
            Row(f"{LARGE:,} {name}: memory at its highest", peak, "MiB", LARGE_MIB),
        ]
    return [*rows, Row(f"{SMALL:,} pairs: processor time, 95 %", _measure_small(), "ms", SMALL_MS)]


def _measure_small() -> float:
    runs, found = [Run(SMALL, seed, clusters=False) for seed in (1, 2)], []
    for _ in range(ROUNDS):
        began = time.process_time()
        _compare(runs)
        found.append(1000 * (time.process_time() - began))
    return percentile(found, 0.95)


class Run:
    """Packed columns of a run: prompts and targets of its own for each document, one answer in seven wrong."""

    def __init__(self, size: int, seed: int, *, clusters: bool) -> None:
        made = random.Random(seed)
        self.rows = split_rows(size)
        starts = range(0, size, self.rows[0])
        zones = list(zip(starts, self.rows, strict=True))
        self.document = [pack(array("q", range(start, start + rows)).tobytes()) for start, rows in zones]
        self.bytes = [pack(bytes(rows)) for rows in self.rows]
        shared = random.Random(0)
        self.hashes = [pack(shared.randbytes(rows * HASH_BYTES)) for rows in self.rows]
        self.cluster = [pack(_make_clusters(start, rows, known=clusters)) for start, rows in zones]
        self.values = [
            pack(array(METRIC_TYPE, (float(made.random() > 1 / 7) for _ in range(rows))).tobytes())
            for rows in self.rows
        ]

    def read_documents(self) -> DocumentColumns:
        """Return what tells the documents apart."""
        return DocumentColumns(self.rows, 0, self.document, self.bytes, self.hashes, self.hashes, self.cluster)

    def read_values(self) -> ValueColumns:
        """Return the values of its metric."""
        return ValueColumns(self.rows, 0, self.bytes, self.bytes, self.values)


def _make_clusters(start: int, rows: int, *, known: bool) -> bytes:
    numbers = ((row // CLUSTER + 1).to_bytes(HASH_BYTES, "little") for row in range(start, start + rows))
    return b"".join(numbers) if known else bytes(rows * HASH_BYTES)


def _compare(runs: list[Run]) -> None:
    pairs = pair_documents(*(run.read_documents() for run in runs))
    sums = sum_pairs(pairs, *(run.read_values() for run in runs), lower_is_better=False)
    if sums.compare(level=LEVEL).limits is None:
        raise RuntimeError("nothing was compared")


def main() -> None:
    """Print both numbers."""
    runs = [Run(int(sys.argv[1]), seed, clusters=sys.argv[2] == "clustered") for seed in (1, 2)]
    # What making them took is not counted.
    Path("/proc/self/clear_refs").write_text("5")
    began = time.process_time()
    _compare(runs)
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(time.process_time() - began, int(found[1]) / 1024 if found else 0)


if __name__ == "__main__":
    main()
