"""Builds web/dist, unless it is what the sources make; installs the packages of its lock file first."""

import fcntl
import gzip
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lmms_eval_images.console import ImageError, say
from lmms_eval_images.image_definitions import WEB_INPUTS
from lmms_eval_images.tags import compute_tag

from .node import ROOT, make_environment

WEB: Final = ROOT / "web"
DIST: Final = WEB / "dist"
PACKAGES: Final = WEB / "node_modules"
# What each was made of stands in these files.
BUILT: Final = ROOT / "build" / "web-bundle"
INSTALLED: Final = PACKAGES / ".lock-digest"
COMPRESSED: Final = frozenset({".js", ".css", ".html", ".svg"})


def build(environ: Mapping[str, str] = os.environ) -> None:
    """Build the page.

    Raises ImageError where that fails; what npm and vite say of it is above.
    """
    with lock():
        digest = compute_tag(ROOT, WEB_INPUTS, ())
        if _reads(BUILT, digest) and (DIST / "index.html").exists():
            return
        environment = install_packages(environ)
        say("Building the web page (usually 5 s) ...")
        run_node(["npm", "run", "--silent", "build"], environment)
        compress()
        BUILT.parent.mkdir(exist_ok=True)
        BUILT.write_text(digest)


def install_packages(environ: Mapping[str, str]) -> dict[str, str]:
    """Install what web/package-lock.json names; return the environment in which Node runs."""
    environment = make_environment(environ)
    digest = compute_tag(WEB, ("package-lock.json",), ())
    if not _reads(INSTALLED, digest):
        say("Installing the packages of the web page (usually 20 s) ...")
        run_node(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], environment)
        INSTALLED.write_text(digest)
    return environment


def run_node(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a command in web/; raise ImageError where it fails."""
    # As the tools' own words of progress belong to no answer, all goes to standard error.
    done = subprocess.run(command, cwd=WEB, env=environment, stdout=2, check=False)
    if done.returncode:
        raise ImageError(f"`{' '.join(command)}` failed in web/.")


def compress() -> None:
    """Write each text beside itself as .gz, so that the front end compresses nothing. Their names need no manifest."""
    for path in sorted(DIST.rglob("*")):
        if path.suffix in COMPRESSED:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


@contextmanager
def lock() -> Iterator[None]:
    """One build at a time in this checkout."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "web.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _reads(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text
