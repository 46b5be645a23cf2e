"""The journal of a run of the stand-in, in the format of `lmms_eval_core.journal`: a chunk for each answer."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lmms_eval_core.journal import (
    VERSION,
    ChunkLine,
    HeaderLine,
    JournalAnswer,
    JournalBatch,
    JournalHeader,
    JournalLine,
    JournalName,
    parse_journal_line,
    parse_journal_name,
)
from lmms_eval_core.run import (
    EARLIER_DIRECTORY,
    JOURNAL_DIRECTORY,
    RUN_FILE,
    ResumedAnswers,
    ResumePolicy,
    RunInput,
)

from .answers import TASK


class AnswerJournal:
    """Answers of earlier attempts, and the file to which those of this one are appended."""

    def __init__(self, directory: Path) -> None:
        run = RunInput.model_validate_json((directory / RUN_FILE).read_text())
        self._parts = {"run": run.compute_fingerprint()}
        self._known: dict[str, str] = {}
        self.last_attempt = 0
        self.started_anew = ""
        if run.resume is not ResumePolicy.NEVER:
            for path in sorted((directory / EARLIER_DIRECTORY).glob("*.jsonl")):
                self._read(path)
        self._file = _create(directory, JournalHeader(attempt=run.attempt, rank=0, parts=self._parts))

    @property
    def resumed(self) -> ResumedAnswers | None:
        """The answers of earlier attempts that count, if there are any."""
        if not self._known:
            return None
        return ResumedAnswers(answers=len(self._known), from_attempt=self.last_attempt, exactness="exact")

    def find(self, number: int) -> str | None:
        """Return what an earlier attempt answered."""
        return self._known.get(_identify(number))

    def append(self, number: int, answer: str, *, seconds: float) -> None:
        """Append an answer, in one write."""
        batch = JournalBatch(id=_identify(number), answers=[JournalAnswer(task=TASK, document=number, text=answer)])
        self._file.write(_encode(ChunkLine(batches=[batch], at=time.time(), seconds=seconds)))

    def _read(self, path: Path) -> None:
        name, lines = parse_journal_name(path.name), _iterate_lines(path)
        header = next(lines, None)
        if name is None or not isinstance(header, HeaderLine):
            return
        if header.header.parts != self._parts:
            self.started_anew = f"run differs from attempt {name.attempt}"
            return
        for line in lines:
            if isinstance(line, ChunkLine):
                self._known |= {batch.id: batch.answers[0].text or "" for batch in line.batches}
                self.last_attempt = name.attempt


def _create(directory: Path, header: JournalHeader) -> IO[bytes]:
    folder = directory / JOURNAL_DIRECTORY
    folder.mkdir(exist_ok=True)
    file = (folder / str(JournalName(header.attempt, header.rank))).open("ab", buffering=0)
    file.write(_encode(HeaderLine(version=VERSION, header=header)))
    return file


def _iterate_lines(path: Path) -> Iterator[JournalLine]:
    for text in path.read_bytes().splitlines(keepends=True):
        line = parse_journal_line(text) if text.endswith(b"\n") else None
        if line is None:
            return
        yield line


def _encode(line: HeaderLine | ChunkLine) -> bytes:
    return line.to_json().encode() + b"\n"


def _identify(number: int) -> str:
    return hashlib.sha256(f"{TASK}/{number}".encode()).hexdigest()[:20]
