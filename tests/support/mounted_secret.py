"""The volume of a Secret, as the kubelet shows it and changes it."""

import os
import shutil
import time
from pathlib import Path


def mount(directory: Path, /, **files: str) -> None:
    """Shows these files and no others: a directory for each state, and one link that is replaced at once.

    Who was shown before and is shown still is there at every moment, as with the kubelet.
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
