"""The journal of one process of a run: opened at the first call of the adapter, switched off where it cannot go on.

What goes wrong here never ends a run: it goes on without a journal, and a line in the log says why.
"""

import re
import sys
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lmms_eval_core.journal import (
    MAX_JOURNAL_BYTES,
    ChunkLine,
    CompletionLine,
    FailureLine,
    JournalHeader,
    JournalKind,
    JournalName,
    NextLine,
)
from lmms_eval_core.log_marks import PREFIX
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import EARLIER_DIRECTORY, JOURNAL_DIRECTORY, ResumedAnswers, ResumePolicy, RunInput

from .files import EarlierAnswers, JournalFull, JournalWriter, KnownBatch, read_earlier_answers

MAX_REASON: Final = 300


class ProgressMeter(Protocol):
    """What of the meter the journal tells."""

    def record_resumed(self, resumed: ResumedAnswers | None) -> None:
        """Take how many answers of earlier attempts stand, if any."""

    def record_started_anew(self, why: str) -> None:
        """Take why those of earlier attempts do not count."""

    def record_journaled(self, count: int) -> None:
        """Take that so many more answers are kept."""

    def record_journal_off(self, why: str) -> None:
        """Take that no more are kept."""

    def restart_answers(self) -> None:
        """Forget the bar of the call that runs: it begins again."""


@dataclass(frozen=True)
class RunIdentity:
    """What the adapter is of at its first call: the parts of the fingerprint, and whether it repeats itself."""

    parts: dict[str, Any]
    is_exact: bool


class RunJournal:
    """What earlier attempts have answered, and what this process adds. `secrets` never get into a file.

    `meter` is that of the first rank; `identify` computes what the run is, which takes a while.
    """

    def __init__(
        self,
        run: RunInput,
        directory: Path,
        *,
        rank: int = 0,
        ranks: int = 1,
        secrets: Set[str] = frozenset(),
        meter: ProgressMeter | None = None,
        identify: Callable[[], RunIdentity],
    ) -> None:
        self._run, self._directory, self._rank, self._ranks, self._meter = run, directory, rank, ranks, meter
        self._identify = identify
        self._secrets = (
            re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True)))) if secrets else None
        )
        self._answers: JournalWriter | None = None
        self._completions: JournalWriter | None = None
        self._completions_written = 0
        self._is_exact = False
        self._resumed = 0
        self.earlier = EarlierAnswers()
        self.off = ""

    # --- opening ---

    def open(self) -> None:
        """Read the earlier attempts and begin the file of this one, at the first call."""
        if self._answers or self.off:
            return
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - data sets, weights and disks may fail in any way; the run does without
            self.switch_off(describe_error(error))

    def _open(self) -> None:
        identity = self._identify()
        across = self._run.resume is ResumePolicy.ACROSS_HARDWARE
        self.earlier = read_earlier_answers(self._directory / EARLIER_DIRECTORY, identity.parts, across_hardware=across)
        self._is_exact = identity.is_exact and not self.earlier.has_mixed_hardware
        self._header = JournalHeader(attempt=self._run.attempt, rank=self._rank, parts=identity.parts)
        self._room = (MAX_JOURNAL_BYTES - self._measure_earlier()) // self._ranks
        self._answers = self._make_writer(JournalKind.ANSWERS)
        self._announce()

    def _measure_earlier(self) -> int:
        folder = self._directory / EARLIER_DIRECTORY
        return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0

    def _make_writer(self, kind: JournalKind) -> JournalWriter:
        name = JournalName(self._run.attempt, self._rank, kind)
        folder = self._directory / JOURNAL_DIRECTORY
        folder.mkdir(exist_ok=True)
        return JournalWriter(folder / str(name), self._header, room=self._room // 2)

    def _announce(self) -> None:
        earlier = self.earlier
        if earlier.batches or earlier.completions:
            kept = f"{earlier.count} answers" if earlier.batches else f"{len(earlier.completions)} completions"
            self.say(f"goes on after {kept} of attempts up to {earlier.last_attempt or self._run.attempt - 1}")
        elif earlier.refused:
            attempt, parts = max(earlier.refused.items())
            why = f"{' and '.join(parts)} {'differs' if len(parts) == 1 and parts[0][-1] != 's' else 'differ'}"
            self.say(f"starts anew, since {why} from attempt {attempt}")
            if self._meter:
                self._meter.record_started_anew(f"{why} from attempt {attempt}")

    # --- what is known ---

    def find(self, batch_id: str, size: int) -> KnownBatch | None:
        """Return the answers of an earlier attempt to a batch of `size` requests."""
        known = self.earlier.batches.get(batch_id)
        return known if known is not None and len(known.answers) == size else None

    def count_resumed(self, count: int) -> None:
        """Count answers that were not asked for again; less where they have to be after all."""
        self._resumed += count
        if self._meter:
            resumed = ResumedAnswers(
                answers=self._resumed * self._ranks,
                from_attempt=self.earlier.last_attempt,
                exactness="exact" if self._is_exact else "equivalent",
            )
            self._meter.record_resumed(resumed if self._resumed else None)

    # --- writing ---

    def write_next(self, batch_ids: Sequence[str]) -> None:
        """Record which batches are asked for next."""
        self._write(NextLine(next=list(batch_ids)).to_json())

    def write_failure(self, batch_ids: Sequence[str], reason: Reason) -> None:
        """Record during which batches the adapter failed for good."""
        self._write(FailureLine(failed=list(batch_ids), reason=reason).to_json())

    def write_chunk(self, line: ChunkLine, count: int) -> None:
        """Record a chunk of `count` answers."""
        if self._completions:
            line.completions = self._completions_written
        if self._write(line.to_json()) and self._meter:
            self._meter.record_journaled(count)

    def write_completion(self, line: CompletionLine) -> bool:
        """Record a completion; return whether it is kept."""
        text = line.to_json()
        if self.off or not self._answers or self.holds_secret(text):
            return False
        try:
            self._completions = self._completions or self._make_writer(JournalKind.COMPLETIONS)
            kept = self._completions.write(text)
        except (OSError, JournalFull) as error:
            self.switch_off(describe_error(error))
            return False
        self._completions_written += kept
        return kept

    def _write(self, text: str) -> bool:
        if self.off or not self._answers:
            return False
        try:
            return self._answers.write(text)
        except (OSError, JournalFull) as error:
            self.switch_off(describe_error(error))
            return False

    def holds_secret(self, text: str) -> bool:
        """Return whether a text holds a secret's value."""
        return self._secrets is not None and self._secrets.search(text) is not None

    def switch_off(self, why: str) -> None:
        """Keep nothing from here on."""
        if self.off:
            return
        self.off = _shorten(why)
        self.say(f"no journal from here on: {self.off}")
        if self._meter:
            self._meter.record_journal_off(self.off)

    def restart_bar(self) -> None:
        """Have the meter forget the bar of the call that runs."""
        if self._meter:
            self._meter.restart_answers()

    def say(self, sentence: str) -> None:
        """Write a line to the log."""
        print(f"{PREFIX}{'' if self._ranks == 1 else f'rank {self._rank} '}{sentence}", file=sys.stderr, flush=True)


def describe_error(error: BaseException) -> str:
    """Return what went wrong, in a line."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = str(error) if isinstance(error, JournalFull) else f"{type(error).__name__}: {error}"
    return _shorten(text)


def _shorten(text: str) -> str:
    return " ".join(text.split())[:MAX_REASON]


def read_time() -> float:
    """Return the Unix time, as lines have it."""
    return round(time.time(), 3)
