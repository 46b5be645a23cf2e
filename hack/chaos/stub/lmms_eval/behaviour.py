"""How a run of the stand-in goes, by environment variables that an evaluation sets in `spec.env`."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Ending(StrEnum):
    """What a run comes to."""

    WELL = "well"
    RAISE = "raise"
    """An exception: lmms-eval logs it and exits with 0."""
    SILENT = "silent"
    """Exit code 0, and no results."""
    SWALLOW = "swallow"
    """Every answer fails, and a results file is written."""
    SUSPECT = "suspect"
    """Every other answer fails."""


class Knobs(NamedTuple):
    """All of them."""

    seconds: float = 1.0
    """STUB_SECONDS: how long the answers take together."""
    ending: Ending = Ending.WELL
    """STUB_ENDING."""
    unreachable: bool = False
    """STUB_UNREACHABLE_ATTEMPTS: whether this attempt is one of the first so many, which fail in a way that may pass."""
    stubborn: bool = False
    """STUB_STUBBORN: ignores SIGTERM."""
    slots: int = 1
    """STUB_SLOTS: how many runs there may be at once."""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Knobs":
        """From the environment, and the number of the attempt from the run directory."""
        attempt: int = json.loads(Path(environ["LMMS_EVAL_RUN_DIRECTORY"], "run.json").read_text())["attempt"]
        return cls(
            seconds=float(environ.get("STUB_SECONDS", "1")),
            ending=Ending(environ.get("STUB_ENDING", Ending.WELL)),
            unreachable=attempt <= int(environ.get("STUB_UNREACHABLE_ATTEMPTS", "0")),
            stubborn=environ.get("STUB_STUBBORN") == "1",
            slots=int(environ.get("STUB_SLOTS", "1")),
        )
