"""Files of mounted Secrets: which there are, and a signature that changes when one of them does. For tokens and certificates."""

from collections.abc import Iterable
from pathlib import Path

Signature = tuple[tuple[str, int, int, int], ...]


def listed(directory: Path) -> list[Path]:
    """The regular files of a directory; none if it cannot be read."""
    # A Secret's volume keeps its data in hidden directories and links to them.
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:
        return []


def signature(paths: Iterable[Path]) -> Signature:
    """Tells two states of these files apart without reading them."""
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        found.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)
