"""lmms-eval's own client and server as released, for tests and benchmark to run beside ours."""

import fcntl
import subprocess
import sys
from pathlib import Path

from deployment import ROOT

LOCK = ROOT / "tests" / "support" / "upstream" / "upstream-client.lock"


def installed() -> Path:
    """The folder with `lmms_eval`, without its dependencies; installed when the lock changes."""
    folder = ROOT / "build" / "upstream-client"
    done = folder / "installed.lock"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "installing").open("w") as turn:
        # Parts of the tests ask at the same time.
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not done.exists() or done.read_bytes() != LOCK.read_bytes():
            options = ["--quiet", "--no-deps", "--require-hashes", "--upgrade", "--target", str(folder)]
            command = [sys.executable, "-m", "uv", "pip", "install", *options, "--requirement", str(LOCK)]
            subprocess.run(command, check=True)
            done.write_bytes(LOCK.read_bytes())
    return folder
