"""Headers of a request as the server hands them over: pairs of bytes, names in lower case, in the order in which they came."""

from starlette.types import Scope


def sent(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this name. Whoever looks for one looks into this list, as a caller may send several."""
    return [value for key, value in scope["headers"] if key == name]
