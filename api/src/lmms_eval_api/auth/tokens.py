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

from lmms_eval_api.auth.attributes import Wish
from lmms_eval_api.auth.authenticator import Caller
from lmms_eval_api.auth.credentials import secret_of
from lmms_eval_api.auth.secret_files import listed, signature

CHECK_SECONDS: Final = 1.0
HOW_TO: Final = (
    "Send a token of this front end, as 'Authorization: Bearer TOKEN' or as the password of HTTP Basic (http://user:TOKEN@host)."
)

log = logging.getLogger(__name__)


class TokenFiles:
    """An `Authenticator`. Only digests are kept."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._checked = clock()
        self._signature = signature(listed(directory))
        self._digests = _digests(directory)

    @property
    def known(self) -> frozenset[str]:
        """Names of the files that hold a token."""
        return frozenset(self._digests)

    @property
    def how_to(self) -> str:
        """See `Authenticator`."""
        return HOW_TO

    async def caller(self, authorization: bytes) -> Caller | None:
        """Named after the file that holds this token. Takes the same time whichever it is, and if it is none."""
        self._refresh()
        digest = _digest(secret_of(authorization))
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return Caller(found[0]) if found else None

    async def refusal(self, caller: Caller, wish: Wish) -> str | None:
        """See `Authenticator`. Who has a token may do everything."""
        return None

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        found = signature(listed(self._directory))
        if found != self._signature:
            self._signature, self._digests = found, _digests(self._directory)
            log.info("tokens changed", extra={"tokens": sorted(self._digests)})


def _digests(directory: Path) -> dict[str, bytes]:
    digests = {}
    for path in listed(directory):
        try:
            token = path.read_bytes().strip()
        except OSError:
            continue
        if token:
            digests[path.name] = _digest(token)
    return digests


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
