"""How a run of the stand-in behaves, by environment variables that an evaluation sets in `spec.env`."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class StubEnding(StrEnum):
    """How a run ends."""

    WELL = "well"
    RAISE = "raise"
    """With an exception, which lmms-eval logs before it exits with 0."""
    SILENT = "silent"
    """With exit code 0 and without results."""
    SWALLOW = "swallow"
    """With a results file, though every answer has failed."""
    SUSPECT = "suspect"
    """With a results file, though every other answer has failed."""


class StubBehaviour(NamedTuple):
    """One field for each environment variable."""

    seconds: float = 1.0
    """STUB_SECONDS: how long all answers take together."""
    ending: StubEnding = StubEnding.WELL
    """STUB_ENDING."""
    is_unreachable: bool = False
    """STUB_UNREACHABLE_ATTEMPTS: the number of first attempts that fail with an error that is retried."""
    is_stubborn: bool = False
    """STUB_STUBBORN: whether the process ignores SIGTERM."""
    slots: int = 1
    """STUB_SLOTS: how many runs may run at the same time."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "StubBehaviour":
        """Read the variables, and the number of the attempt from the run directory."""
        attempt: int = json.loads(Path(environ["LMMS_EVAL_RUN_DIRECTORY"], "run.json").read_text())["attempt"]
        return cls(
            seconds=float(environ.get("STUB_SECONDS", "1")),
            ending=StubEnding(environ.get("STUB_ENDING", StubEnding.WELL)),
            is_unreachable=attempt <= int(environ.get("STUB_UNREACHABLE_ATTEMPTS", "0")),
            is_stubborn=environ.get("STUB_STUBBORN") == "1",
            slots=int(environ.get("STUB_SLOTS", "1")),
        )
