"""Counts the answers that are failures in disguise, in the samples that lmms-eval wrote.

Files are read line by line and lines are bounded: one sample may carry its images.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lmms_eval_core.json_text import MAX_LINE_BYTES, parse_line
from lmms_eval_core.results_file import list_answer_texts
from lmms_eval_core.run import AnswerCounts
from lmms_eval_core.sample_scoring import find_raw_answer, is_failed


class CountedAnswers(NamedTuple):
    """The counts, and the text of the first failed answer."""

    counts: AnswerCounts
    example: str = ""


def count_answers(files: Iterable[Path], *, swallowed: int) -> CountedAnswers:
    """Count over all `files`; `swallowed` is the number of errors in the log."""
    counts, example = AnswerCounts(swallowed_errors=swallowed), ""
    for file in files:
        for sample in _read_samples(file):
            texts = list(list_answer_texts(find_raw_answer(sample)))
            counts.samples += 1
            if is_failed(texts):
                counts.failed += 1
                example = example or texts[0].partition("] ")[2]
            elif texts and not any(text.strip() for text in texts):
                counts.empty += 1
    return CountedAnswers(counts, example)


def count_without_samples(*, total: int, swallowed: int, gave_up: int) -> CountedAnswers:
    """Estimate, by the log alone, how many of `total` answers failed that were not kept."""
    return CountedAnswers(
        AnswerCounts(samples=total, failed=min(total, swallowed + gave_up), swallowed_errors=swallowed)
    )


def _read_samples(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if line.endswith(b"\n") or not _skip_to_end_of_line(file):
                yield parse_line(line)
            else:
                yield None


def _skip_to_end_of_line(file: BinaryIO) -> bool:
    """Return whether there was anything to skip."""
    skipped = False
    while rest := file.readline(MAX_LINE_BYTES):
        skipped = True
        if rest.endswith(b"\n"):
            break
    return skipped
