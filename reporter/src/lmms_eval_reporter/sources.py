"""Which files of the run directory go to the store, under which names and in which form. Pure; `upload` opens and sends them."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from lmms_eval_core import layout, run
from lmms_eval_core.json_text import normalised
from lmms_eval_core.results import InvalidResults, check_bounds
from lmms_eval_core.run import Outcome
from lmms_eval_reporter.content import Count, compressed, normalised_lines, redacted, redacted_text
from lmms_eval_reporter.files import UnsafeFile
from lmms_eval_reporter.inbox import results_path, samples_path
from lmms_eval_reporter.settings import Limits


class Source(NamedTuple):
    """One file. Of one larger than `max_bytes` the end is kept, or nothing at all.

    `path` gives it relative to the run directory, or raises UnsafeFile where lmms-eval writes no such file. `form` makes what is
    stored of what is read, and counts what it leaves out; it too may raise UnsafeFile.
    """

    name: str
    path: Callable[[], str]
    form: Callable[[Iterable[bytes], Count], Iterator[bytes]]
    max_bytes: int
    keep_end: bool = False


def sources(outcome: Outcome, limits: Limits) -> Iterator[Source]:
    """Results, samples and log; paths are as the runner, or whoever pretends to be it, gave them."""
    if outcome.results is not None:
        yield Source(layout.RESULTS_FILE, partial(results_path, outcome), _results, run.MAX_RESULTS_BYTES)
    for name, task in _samples(outcome, limits.files):
        yield Source(name, partial(samples_path, outcome, task), _lines, limits.file_bytes)
    yield Source(layout.LOG_FILE, lambda: run.LOG_FILE, _log, limits.log_bytes, keep_end=True)


def task_sources(outcome: Outcome, paths: Iterable[str], limits: Limits) -> Iterator[Source]:
    """What else a run left, given as `paths` relative to the run directory: the files that its tasks wrote themselves."""
    own = {outcome.results, *outcome.samples.values()}
    taken: set[str] = set()
    for path in islice((path for path in paths if path not in own), limits.task_files):
        name = layout.task_file(path)
        if name in taken:
            # Names that differ in a character that a name in the store cannot have.
            name = layout.task_file(f"{path}-{len(taken)}")
        taken.add(name)
        yield Source(name, partial(str, path), _task_file, limits.task_bytes)


def _samples(outcome: Outcome, most: int) -> Iterator[tuple[str, str]]:
    """Names in the store, and the tasks whose samples they are."""
    taken: set[str] = set()
    for task in list(outcome.samples)[:most]:
        name = layout.sample_file(task)
        if name in taken:
            # Two tasks whose names differ in a character that a file name cannot have, or far behind.
            name = layout.sample_file(f"{task[:180]}-{len(taken)}")
        taken.add(name)
        yield name, task


def _results(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    """All at once: whether it is stored at all shows before the first byte is sent."""
    content = b"".join(pieces)
    try:
        check_bounds(content)
    except InvalidResults as error:
        raise UnsafeFile(str(error)) from error
    return iter([normalised(content)])


def _lines(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(normalised_lines(pieces, count))


def _task_file(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(redacted_text(pieces))


def _log(pieces: Iterable[bytes], count: Count) -> Iterator[bytes]:
    return compressed(redacted(pieces))
