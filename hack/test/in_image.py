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

from lmms_eval_test.paths import BUILD, CHECKOUT, ROOT

PLUGINS = BUILD / "pytest"
SOURCE, REPORT = "/src", "/report"
TESTS = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis")
# A run of lmms-eval imports for seconds on one processor, and takes a gigabyte of memory.
WORKERS = 4
# They compute beside tests that measure how soon something happens.
NICENESS = 10
# One of this name at a time: what a run that was killed has left behind is taken away by the next.
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
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-o", "testpaths=tests/runner", "--timeout=300"]
    options += ["-n", str(min(os.cpu_count() or 1, WORKERS)), "--dist", "loadfile"]
    command = ["python", "-m", "pytest", *options, f"--junit-xml={REPORT}/{report.name}", *arguments, "-m", "harness"]
    return [*environment, *command]


def with_docker(image: str, report: Path, arguments: Sequence[str]) -> int:
    """`docker run`, gone afterwards."""
    subprocess.run(["docker", "rm", "--force", CONTAINER], capture_output=True, check=False)
    mounts = ["-v", f"{ROOT}:{SOURCE}:ro", "-v", f"{report.parent}:{REPORT}"]
    options = ["--rm", "--name", CONTAINER, "--entrypoint", "", "--user", "0", "-w", SOURCE, *mounts]
    return subprocess.run(["docker", "run", *options, image, *inside(report, arguments)], check=False).returncode


def with_buildah(image: str, report: Path, arguments: Sequence[str]) -> int:
    """A working container over the image's layers, gone afterwards."""
    subprocess.run(["buildah", "rm", CONTAINER], capture_output=True, check=False)
    create = ["buildah", "from", "--pull-never", "--name", CONTAINER, image]
    subprocess.run(create, stdout=subprocess.DEVNULL, check=True)
    mounts = ["-v", f"{ROOT}:{SOURCE}:ro", "-v", f"{report.parent}:{REPORT}"]
    options = ["--isolation", "chroot", "--network", "host", "--user", "0", "--workingdir", SOURCE, *mounts]
    try:
        return subprocess.run(
            ["buildah", "run", *options, CONTAINER, "--", *inside(report, arguments)], check=False
        ).returncode
    finally:
        subprocess.run(["buildah", "rm", CONTAINER], stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    """pytest's exit status."""
    report, arguments = Path(sys.argv[1]), sys.argv[2:]
    report.parent.mkdir(parents=True, exist_ok=True)
    install_pytest()
    os.nice(NICENESS)
    image = json.loads((ROOT / "build" / "images.json").read_text())["evaluator"]
    engine = (
        shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )
    return (with_docker if engine else with_buildah)(image, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
