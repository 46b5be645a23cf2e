"""Lets what tasks make of documents for an adapter be kept. The only file here that knows lmms-eval."""

import atexit
import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lmms_eval_core.log_marks import PREFIX
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.run import RunInput
from lmms_eval_runner.journal.run_journal import describe_error

from .capture import Capture
from .encoder import Encoder
from .folder import MediaFolder
from .tags import TaggedTasks

FUNCTIONS: Final = ("doc_to_visual", "doc_to_messages")


def attach_media(adapter: Any, run: RunInput, directory: Path, *, environ: Mapping[str, str]) -> Capture | None:
    """Mark the documents of `adapter`, and wrap what tasks make of them; None where nothing is to be kept."""
    if run.media.policy == MediaPolicy.NONE:
        return None
    try:
        rank, ranks = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
        folder = MediaFolder(run, directory, rank=rank, ranks=ranks)
        encoder = Encoder(folder, run.media.policy)
        capture = Capture(encoder, run.media.policy)
        adapter.task_dict = TaggedTasks(adapter.task_dict)
        _watch_tasks(capture)
        atexit.register(_report_failures, capture, encoder)
    except Exception as error:  # noqa: BLE001 - another version of lmms-eval, a full disk; the run does without
        print(f"{PREFIX}no media are kept: {describe_error(error)}", file=sys.stderr, flush=True)
        return None
    return capture


def _report_failures(capture: Capture, encoder: Encoder) -> None:
    # What was taken, and could not be kept, each item says by itself.
    if failures := capture.failures + encoder.failures:
        print(f"{PREFIX}media that could not be looked at: {failures}", file=sys.stderr, flush=True)


def _watch_tasks(capture: Capture) -> None:
    """Wrap the functions of each task before its requests are made of them."""
    from lmms_eval.api.task import Task

    original = Task.build_all_requests

    @functools.wraps(original)
    def build_all_requests(self: Any, *args: Any, **kwargs: Any) -> Any:
        for name in FUNCTIONS:
            function = getattr(self, name, None)
            if callable(function) and name not in vars(self):
                setattr(self, name, capture.wrap(function))
        return original(self, *args, **kwargs)

    Task.build_all_requests = build_all_requests
