"""Runs a build: all its output goes to a log file, slow steps are printed."""

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .console import ImageError, format_duration, say

_STEPS = (
    re.compile(r"(?:\[(?P<stage>\d+/\d+)\] )?STEP (?P<step>\d+/\d+): (?P<words>.*)"),  # buildah
    re.compile(r"#\d+ \[(?P<stage>\S+)(?: +(?P<step>\d+/\d+))?\] (?P<words>.*)"),  # docker
)
_SLOW = 5.0


def parse_step(line: str) -> str:
    """Name the step that a line of docker's or buildah's output begins, empty for any other line."""
    match = next((found for pattern in _STEPS if (found := pattern.match(line))), None)
    if match is None:
        return ""
    number = " ".join(part for part in (match["stage"], match["step"]) if part)
    return f"{number}: {match['words'][:80]}"


def run_build(command: Sequence[str], log: Path) -> None:
    """Run a build to its end, and say each step that the build stays at for a while.

    Raises ImageError with the end of the output if it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        current, since = "", time.monotonic()
        for line in process.stdout or ():
            file.write(line)
            file.flush()
            if started := parse_step(line):
                _print_slow_step(current, time.monotonic() - since)
                current, since = started, time.monotonic()
    if process.returncode:
        raise ImageError(f"The build failed; all it said is in {log}, and at last:\n{log.read_text()[-2000:]}")


def _print_slow_step(done: str, seconds: float) -> None:
    if done and seconds > _SLOW:
        say(f"  {format_duration(seconds)} for {done}")
