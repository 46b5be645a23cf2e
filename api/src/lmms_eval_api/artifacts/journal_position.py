"""How far a reader is in the journals of an evaluation, and the cursor of that place. Pure.

A journal is text, cut into segments of whole lines; the newest one is stored again and again while it grows. A place is
a byte of the text, never of what is stored, so that it outlives that. Ranks write side by side: a place in an attempt
is one in each of its ranks. Of earlier attempts, all has been read.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from lmms_eval_api.artifacts.frames import InvalidSampleCursor
from lmms_eval_core import layout
from lmms_eval_core.journal import MAX_RANKS, JournalKind
from lmms_eval_core.layout import ArtifactPrefix

# More than those of the largest cursor, with all ranks.
MAX_CURSOR: Final = 4096

_RANK: Final = r"(\d{1,4})\.(\d{1,6})\.(\d{1,9})\.(\d{1,9})"
_CURSOR: Final = re.compile(rf"live\.(\d{{1,9}})((?:/{_RANK}){{0,{MAX_RANKS}}})")


class SegmentPosition(NamedTuple):
    """Byte `at` of the text of a segment, where a line begins; `taken` answers of that line have been read."""

    segment: int = 0
    at: int = 0
    taken: int = 0


class JournalPosition(NamedTuple):
    """A place in the journals of an attempt: one in each rank, at its beginning unless there is another one."""

    attempt: int
    ranks: Mapping[int, SegmentPosition] = {}

    def find(self, rank: int) -> SegmentPosition:
        """Return the place in a rank's journal."""
        return self.ranks.get(rank, SegmentPosition())

    def move(self, rank: int, place: SegmentPosition) -> "JournalPosition":
        """Return the position with another place in one rank."""
        return JournalPosition(self.attempt, {**self.ranks, rank: place})


def encode_answer_cursor(position: JournalPosition) -> str:
    """Return the opaque cursor of a position."""
    ranks = "".join(f"/{rank}." + ".".join(map(str, place)) for rank, place in sorted(position.ranks.items()))
    return base64.urlsafe_b64encode(f"live.{position.attempt}{ranks}".encode()).decode().rstrip("=")


def decode_answer_cursor(cursor: str) -> JournalPosition:
    """Return the position of a cursor. Raises InvalidSampleCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidSampleCursor from error
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidSampleCursor
    places = (tuple(map(int, place)) for place in re.findall(_RANK, found[2]))
    position = JournalPosition(
        int(found[1]), {rank: SegmentPosition(segment, at, taken) for rank, segment, at, taken in places}
    )
    if encode_answer_cursor(position) != cursor:
        raise InvalidSampleCursor
    return position


def is_answer_cursor(cursor: str) -> bool:
    """Whether it is a cursor of answers, and not of samples."""
    try:
        decode_answer_cursor(cursor)
    except InvalidSampleCursor:
        return False
    return True


def find_segments(keys: Iterable[str], prefix: ArtifactPrefix) -> dict[int, frozenset[int]]:
    """Return the numbers of the segments of each rank's answers, among the keys of an attempt's journals."""
    files = (key.removeprefix(prefix.path) for key in keys)
    journals = layout.group_journal_segments(files, prefix.attempt)
    found = {name.rank: frozenset(numbers) for name, numbers in journals.items() if name.kind == JournalKind.ANSWERS}
    return {rank: found[rank] for rank in sorted(found)[:MAX_RANKS]}
