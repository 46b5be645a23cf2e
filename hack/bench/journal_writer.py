"""A run's part in its journal, as the runner's plug-in writes it, over a model that takes 20 ms for an answer.

A process of its own, started as `python -m bench.journal_writer FOLDER`: the Unix time of each answer is a double in
the file `TIMES`. It runs until it is killed.
"""

import os
import struct
import sys
import time
from pathlib import Path
from typing import Final

from lmms_eval_core.journal import (
    MAX_JOURNAL_BYTES,
    ChunkLine,
    JournalAnswer,
    JournalBatch,
    JournalHeader,
    JournalName,
    NextLine,
)
from lmms_eval_core.run import JOURNAL_DIRECTORY
from lmms_eval_runner.journal.chunk_size import ChunkSize
from lmms_eval_runner.journal.files import JournalWriter

TIMES: Final = "times"
NAME: Final = JournalName(1, 0)
ANSWER_SECONDS: Final = 0.02
TEXT: Final = "The picture shows a street with houses. " * 6


class AnsweringRun:
    """The run in a folder."""

    def __init__(self, folder: Path) -> None:
        (folder / JOURNAL_DIRECTORY).mkdir()
        header = JournalHeader(attempt=NAME.attempt, rank=NAME.rank, parts={})
        self._journal = JournalWriter(folder / JOURNAL_DIRECTORY / str(NAME), header, room=MAX_JOURNAL_BYTES)
        self._times = os.open(folder / TIMES, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._answered = 0

    def run(self) -> None:
        """Answers, chunk by chunk."""
        size = ChunkSize()
        while True:
            begun, count = time.perf_counter(), size.count
            self._answer(count)
            size.record(time.perf_counter() - begun, count)

    def _answer(self, count: int) -> None:
        ids = [f"{number:020x}" for number in range(self._answered, self._answered + count)]
        self._journal.write(NextLine(next=ids).to_json())
        begun = time.time()
        for _ in ids:
            time.sleep(ANSWER_SECONDS)
            os.write(self._times, struct.pack("d", time.time()))
        answers = [JournalAnswer(task="bench", document=int(batch, 16), text=TEXT) for batch in ids]
        batches = [JournalBatch(id=batch, answers=[answer]) for batch, answer in zip(ids, answers, strict=True)]
        self._journal.write(ChunkLine(batches=batches, at=time.time(), seconds=time.time() - begun).to_json())
        self._answered += count


if __name__ == "__main__":
    AnsweringRun(Path(sys.argv[1])).run()
