"""The front end's certificate: read from a directory, and read again when it is renewed, without a restart.

Each state of the files gets a context of its own: loaded into one that is in use, a new key of another kind would stand beside
the old one. A handshake takes the newest; connections that are open go on with theirs.
"""

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvicorn

from lmms_eval_api.auth.secret_files import compute_signature
from lmms_eval_api.settings import SettingsError

CHECK_SECONDS: Final = 1.0

# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.tls")

Factory = Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]


class Certificate:
    """The newest certificate that could be read. SettingsError if there is none at the start."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (directory / "tls.crt", directory / "tls.key")
        self._clock = clock
        self._checked = clock()
        self._signature = compute_signature(self._files)
        try:
            self._newest = self._read()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"There is no certificate in {directory}: mount a Secret of type kubernetes.io/tls there, with tls.crt and its "
                f"tls.key in PEM, or unset LMMS_EVAL_API_TLS for plain HTTP ({error})"
            ) from error

    def context(self) -> ssl.SSLContext:
        """A context for a server, whose handshakes are given the newest one."""
        context = self._read()
        context.sni_callback = self._choose
        return context

    def newest(self) -> ssl.SSLContext:
        """The context of the files as they are, seen within a second."""
        now = self._clock()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._newest

    # Called at every handshake, whether the client names a host or not.
    def _choose(self, connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        connection.context = self.newest()

    def _refresh(self) -> None:
        found = compute_signature(self._files)
        if found == self._signature:
            return
        try:
            self._newest = self._read()
        except (OSError, ValueError) as error:
            # Half of a renewal may have been seen, so that it is looked at again; the old one serves on.
            log.warning("new certificate refused", extra={"error": str(error)})
            return
        self._signature = found
        log.info("certificate changed")

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files, password=_refuse_to_ask)
        return context


def factory(directory: Path) -> Factory:
    """What uvicorn asks for its context."""
    certificate = Certificate(directory)
    return lambda config, default: certificate.context()


def _refuse_to_ask() -> str:
    # Otherwise OpenSSL asks at the terminal.
    raise ValueError("the key has a pass phrase; store it without one")
