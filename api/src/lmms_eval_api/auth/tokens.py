"""Mode `token`: tokens in the files of a directory, as a mounted Secret shows them, and how a caller sends one.

A change is seen within a second, without a restart. To rotate: add the new token under another key, move the callers,
remove the old key.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lmms_eval_api.auth.attributes import ResourceAttributes
from lmms_eval_api.auth.authenticator import Caller, TokenSource
from lmms_eval_api.auth.secret_files import compute_signature, list_files

CHECK_SECONDS: Final = 1.0
INSTRUCTIONS: Final = (
    "Send a token of this front end, as 'Authorization: Bearer TOKEN' or as the password of "
    "HTTP Basic (http://user:TOKEN@host)."
)

log = logging.getLogger(__name__)


class TokenFiles:
    """An `Authenticator`. Keeps digests of tokens, never the tokens."""

    def __init__(
        self, directory: Path, *, secret: str = "", namespace: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._secret = " ".join(["secret", secret or "lmms-eval-token", *(["-n", namespace] if namespace else [])])
        self._directory = directory
        self._clock = clock
        self._checked = clock()
        self._signature = compute_signature(list_files(directory))
        self._digests = _read_digests(directory)

    @property
    def names(self) -> frozenset[str]:
        """Names of the files that hold a token."""
        return frozenset(self._digests)

    @property
    def instructions(self) -> str:
        """See `Authenticator`."""
        return INSTRUCTIONS

    @property
    def how_to_get_a_token(self) -> TokenSource:
        """See `Authenticator`."""
        return TokenSource(
            "Ask whoever runs this release for your token. Who may read its Secret finds one there:",
            f"kubectl get {self._secret} -o jsonpath='{{.data.token}}' | base64 -d",
        )

    async def identify(self, authorization: bytes) -> Caller | None:
        """Return the caller named after the file that holds the token. Takes the same time for every token."""
        self._refresh()
        digest = _hash_token(read_token(authorization))
        found = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return Caller(found[0]) if found else None

    async def find_refusal(self, caller: Caller, attributes: ResourceAttributes) -> str | None:
        """Return None: whoever has a token may do everything."""
        return None

    def _refresh(self) -> None:
        now = self._clock()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        found = compute_signature(list_files(self._directory))
        if found != self._signature:
            self._signature, self._digests = found, _read_digests(self._directory)
            log.info("tokens changed", extra={"tokens": sorted(self._digests)})


def read_token(authorization: bytes) -> bytes:
    """Return the token of `Bearer TOKEN`, or the password of HTTP Basic; empty if the header holds neither.

    A password, as lmms-eval's own client can send nothing else: http://anybody:TOKEN@host. Bytes, as a header need not
    be text.
    """
    scheme, _, value = authorization.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        return _read_password(value.strip())
    return b""


def _read_password(value: bytes) -> bytes:
    try:
        pair = base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
    return pair.partition(b":")[2]


def _read_digests(directory: Path) -> dict[str, bytes]:
    digests = {}
    for path in list_files(directory):
        try:
            token = path.read_bytes().strip()
        except OSError:
            continue
        if token:
            digests[path.name] = _hash_token(token)
    return digests


def _hash_token(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
