"""Which files of the run directory go to the store, under which names and in which form.

Pure; `upload` opens and sends them.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from lmms_eval_core import layout, run
from lmms_eval_core.json_text import normalised
from lmms_eval_core.results_file import InvalidResults, check_bounds
from lmms_eval_core.run import Outcome
from lmms_eval_reporter.content import Count, checked, compressed, normalised_lines, redacted, redacted_text
from lmms_eval_reporter.run_directory import UnsafeFile
from lmms_eval_reporter.run_files import find_results_path, find_samples_path
from lmms_eval_reporter.settings import UploadLimits


class UploadSource(NamedTuple):
    """One file to upload. Of one larger than `max_bytes` the end is kept, or nothing at all.

    `find_path` gives its path relative to the run directory, or raises UnsafeFile where lmms-eval writes no such file.
    `convert` makes what is stored of what is read, and counts what it leaves out; it too may raise UnsafeFile.
    `task` is the one whose samples the file has.
    """

    name: str
    find_path: Callable[[], str]
    convert: Callable[[Iterable[bytes], Count], Iterator[bytes]]
    max_bytes: int
    keep_end: bool = False
    task: str | None = None


def list_sources(outcome: Outcome, limits: UploadLimits) -> Iterator[UploadSource]:
    """Yield results, samples and log; paths are as the runner, or whoever pretends to be it, gave them."""
    if outcome.results is not None:
        yield UploadSource(
            layout.RESULTS_FILE, partial(find_results_path, outcome), _convert_results, run.MAX_RESULTS_BYTES
        )
    for name, task in _name_samples(outcome, limits.files):
        yield UploadSource(
            name, partial(find_samples_path, outcome, task), _convert_samples, limits.file_bytes, task=task
        )
    yield UploadSource(layout.LOG_FILE, lambda: run.LOG_FILE, _convert_log, limits.log_bytes, keep_end=True)


def list_task_sources(outcome: Outcome, paths: Iterable[str], limits: UploadLimits) -> Iterator[UploadSource]:
    """Yield the files that tasks wrote themselves: what of `paths`, relative to the run directory, is not lmms-eval's
    own.
    """
    own = {outcome.results, *outcome.samples.values()}
    taken: set[str] = set()
    for path in islice((path for path in paths if path not in own), limits.task_files):
        name = layout.task_file(path)
        if name in taken:
            # Names that differ in a character that a name in the store cannot have.
            name = layout.task_file(f"{path}-{len(taken)}")
        taken.add(name)
        yield UploadSource(name, partial(str, path), _convert_task_file, limits.task_bytes)


def _name_samples(outcome: Outcome, max_files: int) -> Iterator[tuple[str, str]]:
    """Yield names in the store, and the tasks whose samples they are."""
    taken: set[str] = set()
    for task in list(outcome.samples)[:max_files]:
        name = layout.sample_file(task)
        if name in taken:
            # Two tasks whose names differ in a character that a file name cannot have, or far behind.
            name = layout.sample_file(f"{task[:180]}-{len(taken)}")
        taken.add(name)
        yield name, task


def _convert_results(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """Check the whole file first: whether it is stored at all shows before the first byte is sent."""
    content = b"".join(pieces)
    try:
        check_bounds(content)
    except InvalidResults as error:
        raise UnsafeFile(str(error)) from error
    return iter([normalised(content)])


def _convert_samples(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(checked(normalised_lines(pieces, count), count), count.frames)


def _convert_task_file(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(redacted_text(pieces))


def _convert_log(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(redacted(pieces))
