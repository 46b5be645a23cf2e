"""Where the API server is and how to authenticate there: from a kubeconfig, or from what a pod finds in its own file
system.

A kubeconfig's credentials are a token, the file of one, or a client certificate, which are also those that kopf reads.
"""

import base64
import contextlib
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The kubelet replaces a token long before it expires.
TOKEN_SECONDS: Final = 60.0
SECTIONS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
PLUG_INS: Final = ("exec", "auth-provider")

Entry = Mapping[str, Any]


class ConfigurationError(Exception):
    """No API server can be found, or no credentials for it; the message says which file lacks what."""


def no_token() -> str:
    """Return no token: a client certificate authenticates."""
    return ""


@dataclass(frozen=True)
class Configuration:
    """One API server and one identity."""

    host: str
    """The URL of the API server, without a slash at its end."""
    ssl_context: ssl.SSLContext
    token: Callable[[], str] = no_token
    """Returns the bearer token for the next request; "" for none."""
    server_name: str | None = None
    """The name that the server's certificate must have, where it is not that of the URL."""


@dataclass
class TokenFile:
    """A token whose file is read again once a minute.

    While it cannot be, the last token stays: it may still be valid.
    """

    path: Path
    clock: Callable[[], float] = time.monotonic
    _token: str = field(default="", init=False)
    _expires: float = field(default=float("-inf"), init=False)

    def __call__(self) -> str:
        """Return the token. Raises ConfigurationError where the file has never had one."""
        if self.clock() >= self._expires:
            self._expires = self.clock() + TOKEN_SECONDS
            try:
                self._token = self._read()
            except ConfigurationError:
                if not self._token:
                    raise
        return self._token

    def _read(self) -> str:
        token = _read(self.path).strip()
        if not token:
            raise ConfigurationError(f"{self.path} is empty, and should hold a token")
        return token


def load_pod(
    *, token_file: Path | None = None, ca_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Configuration:
    """Return the cluster that this pod runs in.

    `token_file` and `ca_file` replace those of the pod's service account.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigurationError(
            "This is no pod (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig in KUBECONFIG."
        )
    token = TokenFile(token_file or SERVICE_ACCOUNT / "token")
    token()
    context = _trusting(_read(ca_file or SERVICE_ACCOUNT / "ca.crt"))
    return Configuration(f"https://{f'[{host}]' if ':' in host else host}:{port}", context, token)


def load_kubeconfig(paths: str) -> Configuration:
    """Return the current context of a kubeconfig, or of several, separated by colons.

    Of two entries with one name the first counts, as for kubectl.
    """
    entries, current = _merged([Path(path).expanduser() for path in paths.split(os.pathsep) if path])
    try:
        context = entries["contexts"][current]
        cluster, user = entries["clusters"][context["cluster"]], entries["users"].get(context.get("user", ""), {})
        host = str(cluster["server"]).rstrip("/")
    except KeyError as missing:
        raise ConfigurationError(f"{paths}: there is no {missing} for the current context {current!r}") from None
    if found := [kind for kind in PLUG_INS if kind in user]:
        remedy = "give a token or a client certificate"
        raise ConfigurationError(f"{paths}: plug-ins for credentials ({found[0]}) are not run; {remedy}")
    return Configuration(host, _ssl_context(cluster, user), _token(user), cluster.get("tls-server-name"))


def _merged(files: list[Path]) -> tuple[dict[str, dict[str, Entry]], str]:
    entries: dict[str, dict[str, Entry]] = {section: {} for section in SECTIONS}
    current = ""
    for file in files:
        try:
            document = yaml.safe_load(_read(file)) or {}
            current = current or document.get("current-context", "")
            for section, kind in SECTIONS.items():
                for entry in document.get(section) or ():
                    # The paths in it are relative to its file.
                    entries[section].setdefault(entry["name"], {**(entry.get(kind) or {}), "folder": file.parent})
        except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
            raise ConfigurationError(f"{file} is no kubeconfig: {error}") from None
    return entries, current


def _token(user: Entry) -> Callable[[], str]:
    if "tokenFile" in user:
        return TokenFile(user["folder"] / user["tokenFile"])
    token = str(user.get("token", ""))
    return lambda: token


def _ssl_context(cluster: Entry, user: Entry) -> ssl.SSLContext:
    context = _trusting(_content(cluster, "certificate-authority"))
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _content(user, "client-certificate"), _content(user, "client-key")
    if certificate:
        with _written(f"{certificate}\n{key}") as chain:
            try:
                context.load_cert_chain(chain)
            except ssl.SSLError as error:
                raise ConfigurationError(f"the client certificate cannot be used with its key: {error}") from None
    return context


def _trusting(authority: str) -> ssl.SSLContext:
    """Return a context that trusts this authority alone; without one, those that the machine trusts."""
    try:
        return ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError as error:
        raise ConfigurationError(f"the certificate of the authority cannot be read: {error}") from None


def _content(entry: Entry, name: str) -> str:
    """Return the text that is in the entry (`NAME-data`) or in the file that it names; "" without either."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(data).decode()
        except ValueError as error:
            raise ConfigurationError(f"{name}-data is no Base64 of a PEM text: {error}") from None
    return _read(entry["folder"] / entry[name]) if entry.get(name) else ""


@contextlib.contextmanager
def _written(text: str) -> Iterator[str]:
    """Yield the name of a file with this text that nobody else can read: OpenSSL takes a key from a file alone."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield file.name


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
