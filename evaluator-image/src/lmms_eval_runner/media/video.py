"""The poster of a video, made by a process of its own: decoders of hostile files may hang, and take all memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from lmms_eval_core.media import DISPLAY_PIXELS, THUMB_PIXELS

SECONDS: Final = 30.0
# What the process needs of ours to find its packages.
_VARIABLES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG")


class Poster(NamedTuple):
    """A frame of a video as WebP, and what the video says of itself."""

    thumb: bytes
    display: bytes
    width: int
    height: int
    seconds: float | None


def make_poster(path: Path, *, seconds: float = SECONDS) -> Poster:
    """Return the poster of the video in a regular file. Raises ValueError where there is none within `seconds`."""
    arguments = [str(path), str(DISPLAY_PIXELS), str(THUMB_PIXELS)]
    command = [sys.executable, "-B", "-m", "lmms_eval_runner.media.poster", *arguments]
    environment = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=True,
            cwd="/",
            env=environment,
        )
    except subprocess.SubprocessError as error:
        raise ValueError("the video has no poster") from error
    line, _, content = done.stdout.partition(b"\n")
    told = json.loads(line)
    thumb, display = content[: told["thumb"]], content[told["thumb"] :]
    return Poster(thumb, display, told["width"], told["height"], told["seconds"])
