"""From the text of a journal to answers as they are shown. Pure; runs in the worker process."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from lmms_eval_api.artifacts.media_block import make_media_key
from lmms_eval_core import layout
from lmms_eval_core.journal import ChunkLine, HeaderLine, JournalAnswer, JournalBatch, parse_journal_line
from lmms_eval_core.json_text import normalised, parse_excess
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_core.wire import AnswerTokens, LiveAnswer

# Of one answer: two hundred followers who read slowly hold one each.
MAX_ANSWER: Final = 65_536
MAX_DOCUMENT: Final = 1000
# Of one call.
MAX_ANSWERS: Final = 10_000
MAX_BYTES: Final = 8 * 1024 * 1024
# A line has a cost, however short it is.
LINE_COST: Final = 256
# That are named, in links and in sentences.
MAX_TASKS: Final = 1000
_MEDIA_FIELDS: Final = {"media", "media_more"}


class AnswerSelection(NamedTuple):
    """Which answers: those of the task that is stored as `task`, or of all; with `only_empty`, those without text."""

    task: str | None
    only_empty: bool = False

    def wants(self, answer: JournalAnswer) -> bool:
        """Whether it is one of them."""
        if self.task is not None and layout.segment(answer.task) != self.task:
            return False
        return not self.only_empty or (answer.packed is None and not (answer.text or "").strip())


class BlockStart(NamedTuple):
    """Of which attempt a block is, and how many answers of its first line have been read."""

    attempt: int
    taken: int = 0


class FoundAnswer(NamedTuple):
    """An answer as JSON without its media, what these are known by, and the id of its batch.

    `line` and `taken` are the place behind it: byte of its line, and answers of that line.
    """

    text: bytes
    media_key: bytes
    batch: bytes
    line: int
    taken: int


class BlockReading(NamedTuple):
    """What is in a block, up to byte `end`, where a line begins of which `taken` answers were read.

    `is_over`: the journal ends there, whatever follows. `cost` is in bytes. `tasks` are those of all answers in it,
    and `run_tasks` those of the run, where the block begins with its header.
    """

    answers: list[FoundAnswer]
    end: int
    taken: int
    is_over: bool
    cost: int
    tasks: frozenset[str]
    run_tasks: frozenset[str] = frozenset()


def read_block(block: bytes, start: BlockStart, selection: AnswerSelection) -> BlockReading:
    """Return answers in whole lines, as many as one call returns."""
    found: list[FoundAnswer] = []
    tasks: set[str] = set()
    run_tasks = frozenset[str]()
    size = cost = 0
    for at, line in _split_lines(block):
        cost += len(line) + LINE_COST
        parsed = _parse_line(line)
        if parsed is None:
            return BlockReading(found, at, start.taken if not at else 0, True, cost, frozenset(tasks), run_tasks)
        run_tasks |= _list_run_tasks(parsed)
        for number, (batch, answer) in enumerate(_list_answers(parsed), 1):
            if not at and number <= start.taken:
                continue
            if len(found) == MAX_ANSWERS or size > MAX_BYTES:
                return BlockReading(found, at, number - 1, False, cost, frozenset(tasks), run_tasks)
            if len(tasks) < MAX_TASKS:
                tasks.add(layout.segment(answer.task))
            if selection.wants(answer):
                text = _render(answer, parsed, start.attempt)
                key = make_media_key(answer.task, answer.document)
                found.append(FoundAnswer(text, key, bytes.fromhex(batch.id), at, number))
                size += len(text)
    return BlockReading(found, len(block), 0, False, cost, frozenset(tasks), run_tasks)


def read_run_tasks(block: bytes) -> list[str]:
    """Return the tasks of the run whose journal begins with these whole lines, called as their samples are."""
    first = next((line for _, line in _split_lines(block)), b"")
    return sorted(_list_run_tasks(_parse_line(first)))


def _list_run_tasks(line: Any) -> frozenset[str]:
    tasks = line.header.parts.get("tasks") if isinstance(line, HeaderLine) else None
    return frozenset(map(layout.segment, list(tasks)[:MAX_TASKS])) if isinstance(tasks, dict) else frozenset()


def list_batches(block: bytes) -> tuple[bytes, bool]:
    """Return the ids of the batches in whole lines, ten bytes each, and whether the journal ends in them."""
    ids: list[str] = []
    for _, line in _split_lines(block):
        parsed = _parse_line(line)
        if parsed is None:
            return bytes.fromhex("".join(ids)), True
        if isinstance(parsed, ChunkLine):
            ids += [batch.id for batch in parsed.batches]
    return bytes.fromhex("".join(ids)), False


def _split_lines(block: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    while start < len(block):
        end = block.index(b"\n", start) + 1
        yield start, block[start:end]
        start = end


def _parse_line(line: bytes) -> Any:
    return None if parse_excess(line) else parse_journal_line(normalised(line))


def _list_answers(line: Any) -> Iterator[tuple[JournalBatch, JournalAnswer]]:
    if isinstance(line, ChunkLine):
        for batch in line.batches:
            for answer in batch.answers:
                yield batch, answer


def _render(answer: JournalAnswer, chunk: ChunkLine, attempt: int) -> bytes:
    shown, truncated = _shorten(answer)
    item = LiveAnswer(
        task=answer.task[:MAX_DOCUMENT],
        document=answer.document[:MAX_DOCUMENT] if isinstance(answer.document, str) else answer.document,
        prompt=answer.prompt,
        answer=shown,
        target=answer.target,
        tokens=_make_tokens(answer),
        time=_format_time(chunk.at),
        attempt=attempt,
        truncated=truncated,
    )
    return item.model_dump_json(exclude=_MEDIA_FIELDS).encode()


def _shorten(answer: JournalAnswer) -> tuple[Any, bool]:
    if answer.text is not None:
        return answer.text[:MAX_ANSWER], len(answer.text) > MAX_ANSWER
    if len(json.dumps(answer.packed)) > MAX_ANSWER:
        return None, True
    return answer.packed, False


def _make_tokens(answer: JournalAnswer) -> AnswerTokens | None:
    if answer.tokens is None:
        return None
    spent, generated, reasoning = answer.tokens
    return AnswerTokens(input=spent, output=generated, reasoning=reasoning)


def _format_time(seconds: float) -> str | None:
    try:
        return format_rfc3339(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return None
