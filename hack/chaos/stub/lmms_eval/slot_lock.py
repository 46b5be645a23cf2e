"""Proof by the runs themselves that no two are in a slot: each holds a file lock on the cache volume, which all of them mount.

The kernel frees the lock when its process is gone, and not before, whoever killed it and whatever anybody believes. A run
that finds every slot's lock taken says so in the journal; nobody is stopped by it.
"""

import fcntl
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

FOLDER = "stub"
FILE = "journal.jsonl"


class Journal:
    """One line for each event, from all runs."""

    def __init__(self, folder: Path, *, evaluation: str, attempt: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._evaluation, self._attempt = folder, evaluation, attempt

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Journal":
        """On the volume for caches, named as the runner names the run."""
        run = json.loads(Path(environ["LMMS_EVAL_RUN_DIRECTORY"], "run.json").read_text())
        return cls(Path(environ["HF_HOME"]) / FOLDER, evaluation=run["name"], attempt=run["attempt"])

    def write(self, event: str) -> None:
        """One line, in one write."""
        line = {"at": time.time(), "event": event, "evaluation": self._evaluation, "attempt": self._attempt}
        with (self.folder / FILE).open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")


class Slot:
    """The lock of one of the slots, from `take` to the end of the process."""

    def __init__(self, journal: Journal, *, slots: int) -> None:
        self._journal, self._slots = journal, slots
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Takes the first that is free, and goes on without one where none is."""
        numbers = range(self._slots)
        self._file = next((file for number in numbers if (file := self._locked(number))), None)
        self._journal.write("begins" if self._file else "overlaps")

    def leave(self) -> None:
        """Says that it came to its end by itself; the lock stays to the last."""
        self._journal.write("ends")

    def _locked(self, number: int) -> IO[bytes] | None:
        file = (self._journal.folder / f"slot-{number}").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file
