"""Files of mounted Secrets, for tokens and certificates: which there are, and a signature that changes with them."""

from collections.abc import Iterable
from pathlib import Path

Signature = tuple[tuple[str, int, int, int], ...]


def list_files(directory: Path) -> list[Path]:
    """Return the regular files of a directory, sorted; none if it cannot be read."""
    # A Secret's volume keeps its data in hidden directories and links to them.
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:
        return []


def compute_signature(paths: Iterable[Path]) -> Signature:
    """Return a value that differs between two states of these files, without reading their content."""
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        found.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)
