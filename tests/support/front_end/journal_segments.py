"""Journals as runner and reporter leave them: lines, and the segments that are stored of them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import zstandard

from lmms_eval_core import layout
from lmms_eval_core.journal import JournalKind, JournalName
from lmms_eval_core.layout import ArtifactPrefix

# 2026-11-27T12:00:00Z, when the first chunk of every journal ends.
FIRST_CHUNK = 1_795_780_800.0


def build_header(attempt: int, rank: int = 0, *, tasks: Iterable[str] = ()) -> bytes:
    """Build the first line of a file, of a run of these tasks."""
    parts = {"run": "0"} | ({"tasks": dict.fromkeys(tasks, "0")} if tasks else {})
    header = {"attempt": attempt, "rank": rank, "parts": parts}
    return json.dumps({"v": 1, "header": header}, separators=(",", ":")).encode() + b"\n"


def make_batch_id(*of: object) -> str:
    """Make the id of a batch: the same for the same objects."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:20]


def build_chunk(documents: Iterable[int], *, task: str = "mme", batch: int = 1, **answer: Any) -> bytes:
    """Build the line of a chunk with these documents, in batches of `batch`; keywords are more of each answer."""
    numbers = list(documents)
    batches = [numbers[start : start + batch] for start in range(0, len(numbers), batch)]
    content = {
        "b": [
            {
                "id": make_batch_id(task, one),
                "a": [{"t": task, "d": number, "s": f"answer {number}", **answer} for number in one],
            }
            for one in batches
        ],
        "at": FIRST_CHUNK + numbers[0],
        "s": 0.5,
    }
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def build_next(*documents: int, task: str = "mme") -> bytes:
    """Build the line that says which batches of one document are asked for next."""
    ids = ",".join(f'"{make_batch_id(task, [number])}"' for number in documents)
    return f'{{"n":[{ids}]}}\n'.encode()


def name_segment(
    prefix: ArtifactPrefix, number: int = 0, *, rank: int = 0, kind: JournalKind = JournalKind.ANSWERS
) -> str:
    """Name the key of a segment."""
    return prefix.file(layout.journal_segment(str(JournalName(prefix.attempt, rank, kind)), number))


def pack_segment(lines: Sequence[bytes], *, frame: int = 0) -> bytes:
    """Pack lines as a segment: one frame, or frames of `frame` bytes of text."""
    text = b"".join(lines)
    size = frame or max(len(text), 1)
    pieces = [text[start : start + size] for start in range(0, len(text), size)] or [b""]
    return b"".join(map(zstandard.ZstdCompressor().compress, pieces))
