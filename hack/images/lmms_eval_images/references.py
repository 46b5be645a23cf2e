"""Names of images over time: which are ours, which are too old to keep, and build/images.json, which says the present ones."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

KEPT = 2
_TAG = re.compile(r"[0-9a-f]{12}")


def outdated(repository: str, current: str, existing: Iterable[str]) -> list[str]:
    """List the images of a repository, tagged by us, beyond the `KEPT` newest; `existing` is newest first.

    The current one always stays; images with tags of another form are somebody else's business.
    """
    ours = [name for name in existing if _ours(repository, name) and name != current]
    return ours[KEPT - 1 :]


def record(path: Path, built: Mapping[str, str], existing: Iterable[str]) -> None:
    """Write what was built to a JSON file; what it said of other images stays as long as they exist."""
    before: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    present = set(existing)
    still = {name: reference for name, reference in before.items() if reference in present}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(still | dict(built), indent=2, sort_keys=True) + "\n")


def _ours(repository: str, name: str) -> bool:
    found, _, tag = name.rpartition(":")
    return found == repository and bool(_TAG.fullmatch(tag))
