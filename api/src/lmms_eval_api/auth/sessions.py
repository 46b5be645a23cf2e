"""Sessions of browsers: the caller's own token in a cookie, sealed with a key of the release.

Nothing is stored. A request with the cookie is judged as one with the token, so that a revoked token ends its sessions.
The key and the name of the release are part of the seal: a cookie of another release opens nothing.
"""

import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lmms_eval_api.auth.secret_files import list_files
from lmms_eval_api.settings import SettingsError

SESSION_SECONDS: Final = 12 * 3600
# Browsers keep 4,096 bytes of a cookie, its name and attributes included.
MAX_TOKEN_BYTES: Final = 2700
COOKIE_PREFIX: Final = "lmms_eval_session"
PURPOSE: Final = b"lmms-eval session 1\0"
NONCE_BYTES: Final = 12
TIME_BYTES: Final = 8


class Session(NamedTuple):
    """What a cookie holds: a token, and the Unix time at which the session ends."""

    token: bytes
    expires_at: int

    @property
    def authorization(self) -> bytes:
        """The Authorization header that the token would make."""
        return b"Bearer " + self.token


class SessionSeal:
    """Seals sessions into texts for cookies, and opens those that one of its keys has sealed."""

    def __init__(self, keys: Iterable[bytes], *, name: str = "", clock: Callable[[], float] = time.time) -> None:
        self._ciphers = [AESGCM(hashlib.sha256(PURPOSE + key).digest()) for key in keys]
        self._bound_to = PURPOSE + name.encode()
        self._clock = clock
        self.cookie = f"{COOKIE_PREFIX}_{name}" if name else COOKIE_PREFIX

    def seal(self, token: bytes) -> str:
        """Return the text for a session of `SESSION_SECONDS` that begins now."""
        expires_at = int(self._clock()) + SESSION_SECONDS
        nonce = secrets.token_bytes(NONCE_BYTES)
        content = expires_at.to_bytes(TIME_BYTES, "big") + token
        sealed = nonce + self._ciphers[0].encrypt(nonce, content, self._bound_to)
        return base64.urlsafe_b64encode(sealed).decode()

    def open(self, text: str) -> Session | None:
        """Return the session that was sealed; None if it was not sealed here, was changed, or has ended."""
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        content = self._decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:])
        if content is None:
            return None
        session = Session(content[TIME_BYTES:], int.from_bytes(content[:TIME_BYTES], "big"))
        return session if self._clock() < session.expires_at else None

    def _decrypt(self, nonce: bytes, sealed: bytes) -> bytes | None:
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, sealed, self._bound_to)
            except (InvalidTag, ValueError):
                continue
        return None


def read_session_keys(directory: Path | None) -> list[bytes]:
    """Return the keys in the files of a directory, in the order of their names; without a directory, a new key.

    Raises SettingsError for a directory without keys, and for a key that could be guessed.
    """
    if directory is None:
        return [secrets.token_bytes(32)]
    keys = [path.read_bytes().strip() for path in list_files(directory)]
    if not keys or min(map(len, keys)) < 32:
        raise SettingsError(f"{directory} needs at least one key of sessions, each of 32 bytes or more")
    return keys
