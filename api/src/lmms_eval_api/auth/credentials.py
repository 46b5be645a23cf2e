"""What an Authorization header says. Pure; bytes all along, as nobody promises that they are text."""

import base64
import binascii


def secret_of(authorization: bytes) -> bytes:
    """The token of `Bearer TOKEN`, or the password of HTTP Basic; empty if the header holds neither.

    A password, as lmms-eval's own client can send nothing else: http://anybody:TOKEN@host.
    """
    scheme, _, value = authorization.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        return _password(value.strip())
    return b""


def _password(value: bytes) -> bytes:
    try:
        pair = base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
    return pair.partition(b":")[2]
