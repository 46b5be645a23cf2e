"""The certificate bundle that builds get as a secret: on machines behind a proxy of their own, downloads need it."""

from collections.abc import Mapping
from pathlib import Path

_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_SYSTEM = "/etc/ssl/certs/ca-certificates.crt"


def bundle(environ: Mapping[str, str]) -> Path | None:
    """Give the first bundle that the environment names, else the system's, else nothing."""
    named = [environ.get(variable, "") for variable in _VARIABLES]
    return next((Path(name) for name in [*named, _SYSTEM] if name and Path(name).is_file()), None)
