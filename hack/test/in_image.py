"""Runs the harness tier inside the evaluator image, with docker or buildah; the report goes to the path in argv[1].

pytest comes from outside: the image is tested as it is shipped. Further arguments are pytest's.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from image_container import Container, MemoryVolume, Mount
from lmms_eval_test.paths import BUILD, CHECKOUT, ROOT

PLUGINS = BUILD / "pytest"
SOURCE, REPORT = "/src", "/report"
TESTS = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis")
# A run of lmms-eval imports for seconds on one processor, and takes a gigabyte of memory.
WORKERS = 4
# They compute beside all other tests but those of the unit tier, and take what those leave; niceness is for a machine
# whose processes cannot be grouped.
CPU_SHARES = 128
NICENESS = 10
# For what a run does on a full disk; a mount inside the container would need rights that it does not have.
SMALL_VOLUME = MemoryVolume("/small-volume", 16 * 1024)
CONTAINER = f"{CHECKOUT}-harness"


def install_pytest() -> None:
    """pytest and its plugins in a folder of their own, in the locked versions."""
    locked = (ROOT / "requirements-dev.lock").read_bytes() + repr(TESTS).encode()
    stamp, wanted = PLUGINS / ".lock-hash", hashlib.sha256(locked).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(PLUGINS, ignore_errors=True)
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(PLUGINS)]
    subprocess.run([*command, "--constraints", str(ROOT / "requirements-dev.lock"), *TESTS], check=True)
    stamp.write_text(wanted)


def inside(report: Path, arguments: Sequence[str]) -> list[str]:
    """The command in the container."""
    path = f"PYTHONPATH={SOURCE}/build/test/pytest"
    environment = ["/usr/bin/env", path, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "HOME=/tmp"]
    options = ["-q", "--noconftest", "-o", f"cache_dir={REPORT}/harness.cache", "-o", "testpaths=tests/runner"]
    options += ["--timeout=900", "-n", str(min(os.cpu_count() or 1, WORKERS)), "--dist", "loadfile"]
    command = ["python", "-m", "pytest", *options, f"--junit-xml={REPORT}/{report.name}", *arguments, "-m", "harness"]
    return [*environment, *command]


def main() -> int:
    """pytest's exit status."""
    report, arguments = Path(sys.argv[1]), sys.argv[2:]
    report.parent.mkdir(parents=True, exist_ok=True)
    install_pytest()
    os.nice(NICENESS)
    image = json.loads((ROOT / "build" / "images.json").read_text())["evaluator"]
    mounts = [Mount(ROOT, SOURCE), Mount(report.parent, REPORT, writable=True)]
    container = Container(CONTAINER, image, mounts, workdir=SOURCE, volumes=[SMALL_VOLUME], cpu_shares=CPU_SHARES)
    return container.run(inside(report, arguments)).returncode


if __name__ == "__main__":
    sys.exit(main())
