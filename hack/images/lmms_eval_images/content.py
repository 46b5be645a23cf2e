"""The tag of an image: a hash of all that it is made of, so that an image with the right tag is the right image."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from .console import ImageError


def fingerprint(root: Path, inputs: Iterable[str], extra: Iterable[str]) -> str:
    """Hash the files and folders `inputs` below `root` (names, executable bits, bytes) and some more words: 12 hex digits.

    Raises ImageError for an input that is not there.
    """
    digest = hashlib.sha256()
    for path in _files(root, inputs):
        content, executable = path.read_bytes(), path.stat().st_mode & 0o100
        digest.update(f"{path.relative_to(root)}\0{executable}\0{len(content)}\0".encode() + content)
    for text in extra:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:12]


def _files(root: Path, inputs: Iterable[str]) -> Iterator[Path]:
    for name in sorted(inputs):
        path = root / name
        if not path.exists():
            raise ImageError(f"{name} is missing, and an image is made of it: restore it, or make it with `hack/images lock`.")
        if path.is_file():
            yield path
        else:
            yield from sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
