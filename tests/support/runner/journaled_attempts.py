"""`Attempts`: adapters of lmms-eval in this process, attached to the journals of one run, attempt by attempt."""

import random
import shutil
from pathlib import Path
from typing import Any

from runner_process import build_run_input

from lmms_eval_core.journal import JournalKind
from lmms_eval_core.run import RunInput
from lmms_eval_runner.journal import attach
from lmms_eval_runner.journal.files import list_journals, read_lines
from lmms_eval_runner.journal.run_journal import RunIdentity
from lmms_eval_runner.meter import Meter

PARTS: dict[str, Any] = {"run": "1", "weights": 1, "hardware": ["cpu"]}


class Attempts:
    """Attempts at one run, each in a directory of its own, which has the journals of those before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.parts = PARTS
        self.journaled: attach.JournaledAdapter | None = None

    @property
    def directory(self) -> Path:
        return self.folder / f"attempt-{self.number}"

    def attach(
        self, adapter: Any, *, environ: dict[str, str] | None = None, meter: Meter | None = None, **run: Any
    ) -> Any:
        """Begin another attempt with this adapter, and return it."""
        earlier = sorted(self.folder.glob("attempt-*/journal/*"))
        self.number += 1
        (self.directory / "earlier").mkdir(parents=True)
        for path in earlier:
            shutil.copy(path, self.directory / "earlier")
        return self.attach_beside(adapter, environ=environ, meter=meter, **run)

    def attach_beside(
        self, adapter: Any, *, environ: dict[str, str] | None = None, meter: Meter | None = None, **run: Any
    ) -> Any:
        """Another process of the same attempt."""
        given = RunInput.model_validate(build_run_input(attempt=self.number, **run))
        self.journaled = attach.JournaledAdapter(adapter, given, self.directory, meter=meter, environ=environ or {})
        identity = RunIdentity(self.parts, is_exact=True)
        self.journaled.journal._identify = lambda: identity
        self.journaled.attach()
        begin()
        return adapter

    @property
    def off(self) -> str:
        assert self.journaled
        return self.journaled.journal.off

    def read_lines(self) -> list[Any]:
        """The lines of this attempt's answers."""
        return [
            line
            for name, path in list_journals(self.directory / "journal")
            if name.kind == JournalKind.ANSWERS
            for line in read_lines(path)
        ]


def begin() -> None:
    """As lmms-eval begins."""
    import numpy
    import torch
    from lmms_eval.models.model_utils import gen_metrics, usage_metrics

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
    gen_metrics.reset_logged_metrics()
    usage_metrics.reset_usage_metrics()
