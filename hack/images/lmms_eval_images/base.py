"""The base image of a machine that can pull none: a minimal Debian with Python, made by debootstrap.

The packed file system is kept in the cache, so that an emptied image store costs seconds.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import apt
from .console import ImageError, say

PACKAGES = ("ca-certificates", "python3-venv")
REPOSITORY = "localhost/lmms-eval/base"
# Documentation and translations are two fifths of a minimal Debian; the rest belongs to the machine that made it.
_DROPPED = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "etc/hostname",
    "etc/resolv.conf",
)


def name_image() -> str:
    """Name the image: by its recipe, as Debian's stable packages change only for security."""
    recipe = "\0".join([apt.SUITE, *PACKAGES, *_DROPPED])
    return f"{REPOSITORY}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def make_archive(cache: Path) -> Path:
    """Return the packed file system, made first where it is missing; needs root."""
    packed = cache / "base" / f"{name_image().rpartition(':')[2]}.tar.gz"
    if not packed.exists():
        packed.parent.mkdir(parents=True, exist_ok=True)
        _make(packed)
    return packed


def _make(packed: Path) -> None:
    apt.ensure({"debootstrap": "debootstrap"})
    say(f"Making the base image from Debian's {apt.SUITE} with debootstrap (usually 1 min, then never again) ...")
    for leftover in packed.parent.glob(".making-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=packed.parent) as scratch:
        root = Path(scratch) / "root"
        _bootstrap(root, apt.sources())
        _strip(root)
        whole = Path(scratch) / packed.name
        _run("tar", "--numeric-owner", "--use-compress-program=gzip -1", "-C", root, "-cf", whole, ".")
        for outdated in packed.parent.glob("*.tar.gz"):
            outdated.unlink()
        whole.rename(packed)


def _bootstrap(root: Path, sources: Sequence[apt.AptSource]) -> None:
    mirror = [source.site for source in sources if source.release == apt.SUITE][:1]
    _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", apt.SUITE, root, *mirror)
    if sources:
        lines = [f"deb {source.site} {source.release} main\n" for source in sources]
        (root / "etc/apt/sources.list").write_text("".join(lines))
    for words in (["update"], ["upgrade", "--yes"]):
        _run("chroot", root, "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", *words)


def _strip(root: Path) -> None:
    for name in _DROPPED:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/apt/lists/partial").mkdir()


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    # A folder of this machine; in the new system it does not exist.
    environment.pop("TMPDIR", None)
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ImageError(f"`{' '.join(words)}` failed; its last words:\n{done.stdout[-2000:]}")
