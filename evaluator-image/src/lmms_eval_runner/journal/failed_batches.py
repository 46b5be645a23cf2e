"""Whether another attempt can help after a failure of memory or GPU: what the journals say of the batch that failed.

The runner asks once the process of lmms-eval has ended. What stands in the journals is that process's own word.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lmms_eval_core.journal import FailureLine, JournalKind, JournalName
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import EARLIER_DIRECTORY, JOURNAL_DIRECTORY

from .files import AttemptEnd, list_journals, read_end


class FailedBatches(NamedTuple):
    """What is on record of the batches that failed: whether the attempt before failed in one of them, and whether
    they were the first that this one asked for.
    """

    is_recorded: bool
    is_repeated: bool
    is_first: bool

    @property
    def can_go_on(self) -> bool:
        """Whether another attempt may do better: it begins with the batch that failed, and nothing comes before."""
        return self.is_recorded and not self.is_repeated and not self.is_first


def find_failed_batches(directory: Path, attempt: int) -> FailedBatches:
    """Return what the journals in a run directory say of the failure that has ended `attempt`."""
    failing = [end for _, _, end in _read_ends(directory / JOURNAL_DIRECTORY, attempt) if end.failed]
    batches = frozenset[str]().union(*(end.failed for end in failing))
    before = frozenset[str]().union(*(end.failed for end in _read_ends_before(directory, attempt)))
    return FailedBatches(bool(failing), bool(batches & before), not all(end.has_answers for end in failing))


def record_failed_batches(directory: Path, attempt: int, reason: Reason) -> None:
    """Add to the journals which batches ran when the process ended and could not say so itself."""
    for _, path, end in _read_ends(directory / JOURNAL_DIRECTORY, attempt):
        if end.running and not end.failed:
            line = FailureLine(failed=sorted(end.running), reason=reason).to_json()
            try:
                with path.open("ab") as file:
                    file.write(line.encode() + b"\n")
            except OSError:
                continue


def _read_ends(folder: Path, attempt: int) -> list[tuple[JournalName, Path, AttemptEnd]]:
    files = (
        (name, path)
        for name, path in list_journals(folder)
        if name.attempt == attempt and name.kind == JournalKind.ANSWERS
    )
    return [(name, path, read_end(path, name)) for name, path in files]


def _read_ends_before(directory: Path, attempt: int) -> Iterable[AttemptEnd]:
    folder = directory / EARLIER_DIRECTORY
    earlier = [name.attempt for name, _ in list_journals(folder) if name.attempt < attempt]
    return [end for _, _, end in _read_ends(folder, max(earlier, default=0))]
