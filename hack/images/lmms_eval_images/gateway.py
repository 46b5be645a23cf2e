"""The program of the S3 image: versitygw as hack/cluster pins and builds it."""

import functools
import subprocess
import sys
from pathlib import Path

from .console import ImageError

_CLUSTER = Path(__file__).resolve().parents[2] / "cluster"


@functools.cache
def folder() -> Path:
    """Give the folder that holds the program alone; it is built first where it is missing (1 min 30 s)."""
    command = [sys.executable, str(_CLUSTER), "tool", "versitygw"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ImageError("The S3 gateway's program could not be built; hack/cluster says above why.")
    return Path(done.stdout.strip()).parent


def version() -> str:
    """Give the key under which hack/cluster keeps the program: another content, another key."""
    return folder().name
