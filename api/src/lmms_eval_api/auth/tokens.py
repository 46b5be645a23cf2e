"""Tokens in the files of a directory, as a mounted Secret shows them. A change is seen within a second, without a restart.

To rotate: add the new token under another key, move the callers, remove the old key.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lmms_eval_api.auth.credentials import secret_of

CHECK_SECONDS: Final = 1.0

log = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int, int], ...]


class TokenFiles:
    """An `Authenticator`. Only digests are kept."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._checked = clock()
        self._signature = _signature(directory)
        self._digests = _digests(directory)

    @property
    def known(self) -> frozenset[str]:
        """Names of the files that hold a token."""
        return frozenset(self._digests)

    async def caller(self, authorization: bytes) -> str | None:
        """The name of the file that holds this token. Takes the same time whichever it is, and if it is none."""
        self._refresh()
        digest = _digest(secret_of(authorization))
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return found[0] if found else None

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        signature = _signature(self._directory)
        if signature != self._signature:
            self._signature, self._digests = signature, _digests(self._directory)
            log.info("tokens changed", extra={"tokens": sorted(self._digests)})


def _files(directory: Path) -> list[Path]:
    # A Secret's volume keeps its data in hidden directories and links to them.
    try:
        return sorted(path for path in directory.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError:
        return []


def _signature(directory: Path) -> Signature:
    signature = []
    for path in _files(directory):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        signature.append((path.name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(signature)


def _digests(directory: Path) -> dict[str, bytes]:
    digests = {}
    for path in _files(directory):
        try:
            token = path.read_bytes().strip()
        except OSError:
            continue
        if token:
            digests[path.name] = _digest(token)
    return digests


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
