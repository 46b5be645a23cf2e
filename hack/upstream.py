"""lmms-eval's own client and server as released, for tests and benchmark to run beside ours."""

import subprocess
import sys
from pathlib import Path

from deployment import ROOT

LOCK = ROOT / "tests" / "support" / "upstream-client.lock"


def installed() -> Path:
    """The folder with `lmms_eval`, without its dependencies; installed when the lock changes."""
    folder = ROOT / "build" / "upstream-client"
    done = folder / "installed.lock"
    if not done.exists() or done.read_bytes() != LOCK.read_bytes():
        options = ["--quiet", "--no-deps", "--require-hashes", "--upgrade", "--target", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, "--requirement", str(LOCK)], check=True)
        done.write_bytes(LOCK.read_bytes())
    return folder
