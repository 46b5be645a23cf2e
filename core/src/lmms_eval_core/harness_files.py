"""Which files of the run directory are lmms-eval's own, and which paths one process may name to another. Pure.

lmms-eval writes `<model folder>/<date id>_results.json` and beside it `<date id>_samples_<task>.jsonl` for each task,
once, at the end (`loggers/evaluation_tracker.py`, 0.7.3). Tasks write into the same output folder under names of their
own, such as `submissions/mmbench_en_dev_results.json`. The runner finds the files by these rules, and the reporter
takes no others.
"""

import re
from typing import Final

from lmms_eval_core.run import OUTPUT_DIRECTORY

MAX_PATH: Final = 4096
MAX_DEPTH: Final = 16

# The moment at which the run began, as strftime("%Y%m%d_%H%M%S").
_DATE_ID: Final = r"(?P<date_id>[0-9]{8}_[0-9]{6})"
_RESULTS: Final = re.compile(rf"{_DATE_ID}_results\.json")
_SAMPLES: Final = re.compile(rf"{_DATE_ID}_samples_(?P<task>.+)\.jsonl", re.DOTALL)

# Where lmms-eval looks for the name of the model, in this order, anywhere in the text of the model arguments.
_MODEL_KEYS: Final = (
    "peft=",
    "delta=",
    "pretrained=",
    "model=",
    "model_version=",
    "model_name=",
    "model_id=",
    "path=",
    "engine=",
)
_NOT_IN_A_FOLDER: Final = re.compile(r'["<>:/|\\?*\[\]]+')


class InvalidPath(ValueError):
    """The text is no path of a file below the run directory; the message is a sentence."""


def split_path(path: str) -> list[str]:
    """Return the names in a relative path. InvalidPath for one that is absolute, climbs, is empty, too long, or no
    UTF-8.

    Any other character is a good one: model folders are named after checkpoints, which may have spaces of every kind.
    """
    names = path.split("/")
    if len(path) > MAX_PATH or len(names) > MAX_DEPTH or "\x00" in path or not _is_utf8(path):
        raise InvalidPath(f"{path[:80]!r} is not the path of a file")
    if any(name in ("", ".", "..") for name in names):
        raise InvalidPath(f"{path!r} is not a relative path without '..'")
    return names


def find_results_date_id(path: str) -> str | None:
    """Return the date id in `path`, relative to the run directory, if lmms-eval writes its results there.

    InvalidPath.
    """
    found = _RESULTS.fullmatch(_find_name_in_output(path))
    return found["date_id"] if found else None


def find_samples_task(path: str, *, results: str) -> str | None:
    """Return the task whose samples `path` holds, if lmms-eval wrote it together with the file `results`.

    InvalidPath.
    """
    found = _SAMPLES.fullmatch(_find_name_in_output(path))
    beside = path.rpartition("/")[0] == results.rpartition("/")[0]
    return found["task"] if found and beside and found["date_id"] == find_results_date_id(results) else None


def find_model_folder(model_args: str) -> str:
    """Return the folder that lmms-eval makes for a model, by the text of its arguments; empty where they name none."""
    for key in _MODEL_KEYS:
        if key in model_args:
            name = model_args.split(key)[1].split(",")[0]
            return _NOT_IN_A_FOLDER.sub("__", "/".join(name.split("/")[-2:]))
    return ""


def _find_name_in_output(path: str) -> str:
    """Return the last name of a path to a file in the output folder or in a folder of it; empty for any other."""
    names = split_path(path)
    return names[-1] if names[0] == OUTPUT_DIRECTORY and len(names) in (2, 3) else ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
