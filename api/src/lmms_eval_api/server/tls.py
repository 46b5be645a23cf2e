"""The front end's certificate: read from a directory, and again when it is renewed, without a restart.

Each state of the files gets a context of its own: in a context that is in use, a new key of another type would be added
to the old one. A handshake uses the newest context; open connections keep theirs.
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

ContextFactory = Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]


class Certificate:
    """The newest certificate that could be read. Raises SettingsError if there is none at the start."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (directory / "tls.crt", directory / "tls.key")
        self._clock = clock
        self._checked = clock()
        self._signature = compute_signature(self._files)
        try:
            self._newest = self._read()
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"There is no certificate in {directory}: mount a Secret of type kubernetes.io/tls there, with "
                f"tls.crt and "
                f"its tls.key in PEM, or unset LMMS_EVAL_API_TLS for plain HTTP ({error})"
            ) from error

    def make_context(self) -> ssl.SSLContext:
        """Return a context for a server, whose handshakes use the newest certificate."""
        context = self._read()
        context.sni_callback = self._choose
        return context

    def get_newest(self) -> ssl.SSLContext:
        """Return the context of the newest files; a change is seen within a second."""
        now = self._clock()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._newest

    # Called at every handshake, whether the client names a host or not.
    def _choose(self, connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        connection.context = self.get_newest()

    def _refresh(self) -> None:
        found = compute_signature(self._files)
        if found == self._signature:
            return
        try:
            self._newest = self._read()
        except (OSError, ValueError) as error:
            # A renewal may be half done, so that it is tried again; until then the old certificate is used.
            log.warning("new certificate refused", extra={"error": str(error)})
            return
        self._signature = found
        log.info("certificate changed")

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files, password=_refuse_pass_phrase)
        return context


def make_context_factory(directory: Path) -> ContextFactory:
    """Return the function that uvicorn calls for its context."""
    certificate = Certificate(directory)
    return lambda config, default: certificate.make_context()


def _refuse_pass_phrase() -> str:
    # Otherwise OpenSSL would ask at the terminal.
    raise ValueError("the key has a pass phrase; store it without one")
