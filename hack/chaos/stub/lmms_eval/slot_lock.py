"""Detection of overlapping runs by the runs themselves.

Each run holds a file lock for its slot on the cache volume, which the pods of all evaluations mount. The kernel frees
the lock exactly when the process ends, however it ends. A run that finds the locks of all slots taken reports that in
a journal on the same volume, and goes on.
"""

import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

FOLDER = "stub"
FILE = "journal.jsonl"


class SlotJournal:
    """A file to which all runs append one line for each event."""

    def __init__(self, folder: Path, *, evaluation: str, attempt: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._evaluation, self._attempt = folder, evaluation, attempt

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "SlotJournal":
        """Return the journal on the cache volume, for the evaluation and attempt in the run directory."""
        run = json.loads(Path(environ["LMMS_EVAL_RUN_DIRECTORY"], "run.json").read_text())
        return cls(Path(environ["HF_HOME"]) / FOLDER, evaluation=run["name"], attempt=run["attempt"])

    def append(self, event: str) -> None:
        """Append an event, in one write so that lines of several processes do not mix."""
        line = {"at": time.time(), "event": event, "evaluation": self._evaluation, "attempt": self._attempt}
        with (self.folder / FILE).open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")


class SlotLock:
    """The lock of one of the slots, from `acquire` to the end of the process."""

    def __init__(self, journal: SlotJournal, *, slots: int) -> None:
        self._journal, self._slots = journal, slots
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Lock the first free slot; without one, report an overlap and go on."""
        numbers = range(self._slots)
        self._file = next((file for number in numbers if (file := self._try_lock(number))), None)
        self._journal.append("begins" if self._file else "overlaps")

    def report_end(self) -> None:
        """Report that the run ends by itself; the lock is kept until the process has ended."""
        self._journal.append("ends")

    def _try_lock(self, number: int) -> IO[bytes] | None:
        file = (self._journal.folder / f"slot-{number}").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file
