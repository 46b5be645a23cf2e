"""Finds what lmms-eval wrote, by the rules of `lmms_eval_core.harness_files`: its results file and the samples of each
task.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lmms_eval_core.harness_files import InvalidPath, find_model_folder, find_results_date_id, find_samples_task
from lmms_eval_core.results_file import InvalidResults, parse_results
from lmms_eval_core.run import (
    MAX_RESULTS_BYTES,
    MAX_SAMPLE_FILES,
    MAX_TASK_FILES,
    OUTPUT_DIRECTORY,
    WORK_DIRECTORY,
    RunInput,
)

from .arguments import format_model_args


class OutputFiles(NamedTuple):
    """Paths relative to the run directory: the results file, and the samples of each task, of `MAX_SAMPLE_FILES` at
    most.
    """

    results: str | None
    samples: dict[str, str]


def empty_folder(directory: Path) -> None:
    """Make an empty folder, so that everything found in it later is of this attempt."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)


def find_output_files(run: RunInput, directory: Path) -> OutputFiles:
    """Return what lmms-eval wrote of `run` below the run directory `directory`; links are not followed."""
    files = list(_list_harness_files(directory))
    # The model's folder before any other: another version of lmms-eval may name it differently, a task may have its
    # own.
    expected = find_model_folder(format_model_args(run.harness.model_args)) or OUTPUT_DIRECTORY
    candidates = [path for path in files if find_results_date_id(path)]
    results = max(candidates, key=lambda path: (path.split("/")[-2] == expected, path.split("/")[-1]), default=None)
    if results is None:
        return OutputFiles(None, {})
    samples = ((task, path) for path in files if (task := find_samples_task(path, results=results)))
    return OutputFiles(results, dict(islice(samples, MAX_SAMPLE_FILES)))


def list_task_files(files: OutputFiles, directory: Path) -> list[str]:
    """Return the files that tasks wrote themselves: all others below output and work folder,
    `MAX_TASK_FILES` at most.
    """
    own = {files.results, *files.samples.values()}
    found = (path for folder in (OUTPUT_DIRECTORY, WORK_DIRECTORY) for path in _list_below(directory, folder))
    return list(islice((path for path in found if path not in own), MAX_TASK_FILES))


def _list_below(directory: Path, folder: str) -> Iterator[str]:
    """Yield regular files below a folder of the run directory, sorted within each, that a path can name to the
    reporter.
    """
    for parent, folders, names in os.walk(directory / folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            relative = str(path.relative_to(directory))
            if path.is_file() and not path.is_symlink() and _can_be_named(relative):
                yield relative


def read_results(path: Path) -> dict[str, Any]:
    """Return the results; InvalidResults where the file is none, or is larger than anybody may read."""
    if path.stat().st_size > MAX_RESULTS_BYTES:
        raise InvalidResults(f"the results file is larger than {MAX_RESULTS_BYTES} bytes")
    return parse_results(path.read_bytes())


def count_expected_answers(results: dict[str, Any]) -> int:
    """Return how many documents lmms-eval says it has evaluated, over all tasks."""
    rows = results.get("n-samples")
    counts = (row.get("effective") for row in rows.values() if isinstance(row, dict)) if isinstance(rows, dict) else ()
    return sum(count for count in counts if isinstance(count, int))


def _list_harness_files(directory: Path) -> Iterator[str]:
    """Yield regular files of the output folder and of its folders, that a path can name to the reporter."""
    output = directory / OUTPUT_DIRECTORY
    if not output.is_dir():
        return
    for folder in (output, *sorted(path for path in output.iterdir() if path.is_dir() and not path.is_symlink())):
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and _can_be_named(relative := str(path.relative_to(directory))):
                yield relative


def _can_be_named(path: str) -> bool:
    try:
        find_results_date_id(path)
    except InvalidPath:
        return False
    return True
