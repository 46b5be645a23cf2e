"""Writes the journal of this attempt, and reads those of earlier ones. Knows nothing of lmms-eval."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from lmms_eval_core.journal import (
    MAX_EARLIER_ATTEMPTS,
    MAX_JOURNAL_BYTES,
    MAX_LINE_BYTES,
    VERSION,
    ChunkLine,
    CompletionLine,
    FailureLine,
    HeaderLine,
    JournalAnswer,
    JournalHeader,
    JournalKind,
    JournalLine,
    JournalName,
    NextLine,
    parse_journal_line,
    parse_journal_name,
)
from lmms_eval_core.json_text import parse_excess


class JournalFull(Exception):
    """There is no room for another line."""


class JournalWriter:
    """Appends lines, each by one write(2) as far as the system takes it so.

    Nothing waits for the disk, which dies with the pod: what counts is what the reporter has uploaded. `room` is how
    many bytes the file may grow to.
    """

    def __init__(self, path: Path, header: JournalHeader, *, room: int) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._room = room
        self.write(HeaderLine(version=VERSION, header=header).to_json())

    def write(self, line: str) -> bool:
        """Append a line; return whether every reader takes one so long. Raises JournalFull, OSError."""
        text = line.encode() + b"\n"
        if len(text) > MAX_LINE_BYTES or parse_excess(text):
            return False
        content = memoryview(text)
        if len(content) > self._room:
            raise JournalFull(f"the journal of this evaluation has reached {MAX_JOURNAL_BYTES // 2**20} MiB")
        self._room -= len(content)
        while content:
            content = content[os.write(self._handle, content) :]
        return True


class KnownBatch(NamedTuple):
    """The answers of a batch; `chunk` is the place of its chunk among all that were read."""

    answers: list[JournalAnswer]
    chunk: int


class KnownChunk(NamedTuple):
    """What a chunk left besides its answers."""

    attempt: int
    rank: int
    random_state: dict[str, Any] | None
    throughput: list[dict[str, Any]]
    usage: list[dict[str, Any]]


@dataclass
class EarlierAnswers:
    """What earlier attempts have answered that is good for this run.

    `refused` has the parts that differ, by attempt.
    """

    batches: dict[str, KnownBatch] = field(default_factory=dict)
    chunks: list[KnownChunk] = field(default_factory=list)
    completions: list[CompletionLine] = field(default_factory=list)
    refused: dict[int, list[str]] = field(default_factory=dict)
    last_attempt: int = 0
    has_mixed_hardware: bool = False

    @property
    def count(self) -> int:
        """How many answers there are."""
        return sum(len(batch.answers) for batch in self.batches.values())


HARDWARE: Final = "hardware"


def read_earlier_answers(folder: Path, parts: Mapping[str, Any], *, across_hardware: bool = False) -> EarlierAnswers:
    """Return what the files in `folder` hold for a run of these `parts`, in the order of the attempts."""
    found = EarlierAnswers()
    # A tap's file is of use as far as the file of answers beside it has not used it up.
    used: dict[tuple[int, int], int] = {}
    for name, path in list_journals(folder):
        header, lines = open_journal(path, name)
        if header is None:
            continue
        differing = find_differing_parts(header.parts, parts)
        if differing == [HARDWARE] and across_hardware:
            found.has_mixed_hardware, differing = True, []
        if differing:
            found.refused[name.attempt] = sorted({*found.refused.get(name.attempt, []), *differing})
        elif name.kind == JournalKind.COMPLETIONS:
            _add_completions(found, list(_keep(lines, CompletionLine)), used.get((name.attempt, name.rank), 0))
        elif name.kind == JournalKind.ANSWERS:
            used[name.attempt, name.rank] = _add_chunks(found, _keep(lines, ChunkLine), name)
    return found


def find_differing_parts(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts that are not the same."""
    return sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))


def list_journals(folder: Path) -> list[tuple[JournalName, Path]]:
    """Return the files of the newest attempts: the oldest first, and answers before completions."""
    try:
        names = {name: path for path in folder.iterdir() if (name := parse_journal_name(path.name))}
    except OSError:
        return []
    attempts = sorted({name.attempt for name in names})[-MAX_EARLIER_ATTEMPTS:]
    chosen = [(name, path) for name, path in names.items() if name.attempt in attempts]
    return sorted(chosen, key=lambda pair: (pair[0].attempt, pair[0].rank, pair[0].kind))


def open_journal(path: Path, name: JournalName) -> tuple[JournalHeader | None, Iterator[JournalLine]]:
    """Return the header of a file, None where it is not that of `name`, and the lines after it."""
    lines = read_lines(path)
    first = next(lines, None)
    if not isinstance(first, HeaderLine) or (first.header.attempt, first.header.rank) != (name.attempt, name.rank):
        return None, iter(())
    return first.header, lines


def read_lines(path: Path) -> Iterator[JournalLine]:
    """Yield the whole lines of a file, up to the first that is none of ours."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as file:
            while (line := file.readline(MAX_LINE_BYTES + 1)).endswith(b"\n") and file.tell() <= MAX_JOURNAL_BYTES:
                parsed = parse_journal_line(line)
                if parsed is None:
                    return
                yield parsed
    except OSError:
        return


def _keep(lines: Iterator[JournalLine], kind: type[Any]) -> Iterator[Any]:
    return (line for line in lines if isinstance(line, kind))


def _add_chunks(found: EarlierAnswers, lines: Iterator[ChunkLine], name: JournalName) -> int:
    """Add the chunks of a file; return how many completions of its tap they were made of."""
    used = 0
    for line in lines:
        for batch in line.batches:
            # The first answers count: a later attempt had no reason to ask again.
            found.batches.setdefault(batch.id, KnownBatch(batch.answers, len(found.chunks)))
        chunk = KnownChunk(name.attempt, name.rank, line.random_state, line.throughput, line.usage)
        found.chunks.append(chunk)
        found.last_attempt = max(found.last_attempt, name.attempt)
        used = max(used, line.completions or 0)
    return used


def _add_completions(found: EarlierAnswers, lines: list[CompletionLine], used: int) -> None:
    """Add those that no answer was made of yet, and leave out those that a later attempt has used."""
    gone = {line.key for line in lines[:used]}
    found.completions = [line for line in found.completions if line.key not in gone]
    found.completions += [line for line in lines[used:] if line.response]


class AttemptEnd(NamedTuple):
    """How far a file of answers came: whether it has any, which batches were asked for last, and whether they failed.

    `running` are the batches that ran when the file ended; those of `failed` ended by a failure of memory or GPU.
    """

    has_answers: bool
    running: frozenset[str]
    failed: frozenset[str]


def read_end(path: Path, name: JournalName) -> AttemptEnd:
    """Return how far the file of an attempt and a rank came."""
    has_answers, running, failed = False, frozenset[str](), frozenset[str]()
    for line in open_journal(path, name)[1]:
        if isinstance(line, NextLine):
            running = frozenset(line.next)
        elif isinstance(line, ChunkLine):
            has_answers, running = True, frozenset()
        elif isinstance(line, FailureLine):
            failed = frozenset(line.failed)
    return AttemptEnd(has_answers, running, failed)
