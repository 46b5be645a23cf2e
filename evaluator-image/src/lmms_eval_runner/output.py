"""Finds what lmms-eval wrote: its results file and the samples of each task.

They lie in a folder named after the model, or beside each other where the model arguments name no model.
"""

import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from lmms_eval_core.results import InvalidResults, parse_results
from lmms_eval_core.run import MAX_RESULTS_BYTES

_RESULTS: Final = "_results.json"
_SAMPLES: Final = "_samples_"


class Output(NamedTuple):
    """The newest results file, and the samples file of each task."""

    results: Path | None
    samples: dict[str, Path]


def empty_output(directory: Path) -> None:
    """An output folder in which everything found later is of this attempt."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)


def find_output(directory: Path) -> Output:
    """Looks in `directory` and in its folders; links are not followed."""
    if not directory.is_dir():
        return Output(None, {})
    folders = [directory, *sorted(path for path in directory.iterdir() if path.is_dir() and not path.is_symlink())]
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]
    results = max((path for path in files if path.name.endswith(_RESULTS)), key=lambda path: path.name, default=None)
    samples = {path.name.partition(_SAMPLES)[2].removesuffix(".jsonl"): path for path in files if _is_samples(path)}
    return Output(results, samples)


def read_results(path: Path) -> dict[str, Any]:
    """The results; InvalidResults where the file is none, or is larger than anybody may read."""
    if path.stat().st_size > MAX_RESULTS_BYTES:
        raise InvalidResults(f"the results file is larger than {MAX_RESULTS_BYTES} bytes")
    return parse_results(path.read_text(encoding="utf-8", errors="replace"))


def answers_expected(results: dict[str, Any]) -> int:
    """How many documents lmms-eval says it has evaluated, over all tasks."""
    rows = results.get("n-samples")
    counts = (row.get("effective") for row in rows.values() if isinstance(row, dict)) if isinstance(rows, dict) else ()
    return sum(count for count in counts if isinstance(count, int))


def _is_samples(path: Path) -> bool:
    return _SAMPLES in path.name and path.name.endswith(".jsonl")
