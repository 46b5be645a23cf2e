"""A directory like the volume of a Secret, changed as the kubelet changes it."""

import os
import shutil
import time
from pathlib import Path


def mount_secret(directory: Path, /, **files: str) -> None:
    """Make the volume hold these files and no others.

    Each state is a directory, and one link to it is replaced atomically: a file that was there before and still is can
    be read at every moment.
    """
    state, data = directory / f"..{time.monotonic_ns()}", directory / "..data"
    before = data.resolve() if data.is_symlink() else None
    state.mkdir(parents=True)
    for name, text in files.items():
        (state / name).write_text(text)
    _link(data, state.name)
    for name in files:
        _link(directory / name, f"..data/{name}")
    for shown in directory.iterdir():
        if not shown.name.startswith("..") and shown.name not in files:
            shown.unlink()
    if before:
        shutil.rmtree(before)


def _link(link: Path, target: str) -> None:
    if not link.is_symlink() or os.readlink(link) != target:
        new = link.parent / "..new"
        new.symlink_to(target)
        os.replace(new, link)
