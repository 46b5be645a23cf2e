"""Authentication as the door of the application: no body is read and no route is looked up for a stranger.

A dependency of the routes would come after the body was parsed, and would leave out /docs, /openapi.json and unknown paths.
"""

from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth import Authenticator

# The kubelet has no credentials. It comes by no proxy either, so that a path prefix plays no part.
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})

HOW_TO = (
    "Send a token of this front end, as 'Authorization: Bearer TOKEN' or as the password of HTTP Basic (http://user:TOKEN@host)."
)


class Authentication:
    """ASGI middleware: 401, or the caller's name in `request.state.caller`."""

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets known callers through."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            caller = await self._authenticator.caller(_authorization(scope))
            if caller is None:
                return await _refusal(HTTPConnection(scope))(scope, receive, send)
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _authorization(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"authorization"), b"")


def _refusal(connection: HTTPConnection) -> problems.ProblemResponse:
    response = problems.answer(connection, 401, HOW_TO)
    for challenge in ('Bearer realm="lmms-eval"', 'Basic realm="lmms-eval", charset="UTF-8"'):
        response.headers.append("WWW-Authenticate", challenge)
    return response
