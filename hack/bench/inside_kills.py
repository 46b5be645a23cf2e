"""Runs inside the evaluator image: runs of lmms-eval that are killed at random moments, and what of their answers the
journal has.
"""

import os
import random
import signal
import struct
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.inside_runs import DOCUMENTS, TIMES, Runs
from lmms_eval_core.journal import ChunkLine, JournalName, NextLine
from lmms_eval_core.run import JOURNAL_DIRECTORY
from lmms_eval_runner.journal.files import read_lines

KILLS = 12
ANSWER_SECONDS = 0.02
# After the first answer: the chunks have their full size after some seconds.
EARLIEST, LATEST = 2.0, 5.0
WAIT_SECONDS, PERIOD_SECONDS = 120.0, 0.01


class Kill(NamedTuple):
    """How many answers the run had computed when it was killed, how many of them are kept, and the time since the last
    of those. `chunk` answers had been asked for at once.
    """

    computed: int
    kept: int
    chunk: int
    seconds: float


def measure(runs: Runs) -> list[dict[str, Any]]:
    """The kills."""
    return [_kill(runs)._asdict() for _ in range(KILLS)]


def _kill(runs: Runs) -> Kill:
    run, pid = runs.fork(DOCUMENTS, answer_seconds=ANSWER_SECONDS, recorded=True)
    try:
        _wait_for_answers(run.directory / TIMES, pid)
        time.sleep(random.uniform(EARLIEST, LATEST))
    finally:
        os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        os.waitpid(pid, 0)
    return _compare(run.directory, killed_at)


def _wait_for_answers(times: Path, pid: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not times.exists() or not times.stat().st_size:
        if time.monotonic() > deadline or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise RuntimeError(f"the run that was to be killed has not answered: {times.parent}")
        time.sleep(PERIOD_SECONDS)


def _compare(directory: Path, killed_at: float) -> Kill:
    content = (directory / TIMES).read_bytes()
    times = struct.unpack(f"{len(content) // 8}d", content)
    kept = chunk = 0
    for line in read_lines(directory / JOURNAL_DIRECTORY / str(JournalName(1, 0))):
        if isinstance(line, ChunkLine):
            kept += sum(len(batch.answers) for batch in line.batches)
        elif isinstance(line, NextLine):
            # The batches of this adapter have one answer.
            chunk = len(line.next)
    return Kill(len(times), kept, chunk, killed_at - times[kept - 1] if kept else killed_at - times[0])
