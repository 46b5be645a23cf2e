"""Tags of images: a hash of all that an image is made of, so that one with the right tag is the right image.

Old tags are removed, and build/images.json names the present ones.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .console import ImageError

KEPT = 2
_TAG = re.compile(r"[0-9a-f]{12}")


def compute_tag(root: Path, inputs: Iterable[str], extra: Iterable[str]) -> str:
    """Hash the files and folders `inputs` below `root` (names, executable bits, bytes) and some more words: 12 hex
    digits.

    Raises ImageError for an input that is not there.
    """
    digest = hashlib.sha256()
    for path in _list_files(root, inputs):
        content, executable = path.read_bytes(), path.stat().st_mode & 0o100
        digest.update(f"{path.relative_to(root)}\0{executable}\0{len(content)}\0".encode() + content)
    for text in extra:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:12]


def _list_files(root: Path, inputs: Iterable[str]) -> Iterator[Path]:
    for name in sorted(inputs):
        path = root / name
        if not path.exists():
            raise ImageError(
                f"{name} is missing, and an image is made of it: restore it, or make it with `hack/images lock`."
            )
        if path.is_file():
            yield path
        else:
            yield from sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def list_outdated(repository: str, current: str, existing: Iterable[str]) -> list[str]:
    """List the images of a repository, tagged by us, beyond the `KEPT` newest; `existing` is newest first.

    The current one always stays; images with tags of another form are not ours.
    """
    ours = [name for name in existing if _is_ours(repository, name) and name != current]
    return ours[KEPT - 1 :]


def record_images(path: Path, built: Mapping[str, str], existing: Iterable[str]) -> None:
    """Write what was built to a JSON file; what it said of other images stays as long as they exist."""
    before: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    present = set(existing)
    still = {name: reference for name, reference in before.items() if reference in present}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(still | dict(built), indent=2, sort_keys=True) + "\n")


def _is_ours(repository: str, name: str) -> bool:
    found, _, tag = name.rpartition(":")
    return found == repository and bool(_TAG.fullmatch(tag))
