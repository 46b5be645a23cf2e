"""Authentication as middleware: for an unknown caller, no body is read and no route is looked up.

A dependency of the routes would run after the body was parsed, and would leave out /docs, /openapi.json and unknown
paths. The caller of an open stream is authorized again every few seconds.
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import derive_attributes, is_stream, list_header_values, strip_root_path
from lmms_eval_api.auth.authenticator import Authenticator
from lmms_eval_core.kube import errors

# The kubelet has no credentials. Its probes come through no proxy, so that a path prefix plays no part.
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})

# Between two authorizations of the caller of an open stream.
REAUTHORIZE_SECONDS: Final = 10.0
CANNOT_ASK: Final = (
    "The front end may not ask who you are: bind the ClusterRole system:auth-delegator to its service account."
)
UNDECIDED: Final = "The API server cannot be asked who you are and what you may do; nothing was done. Try again."


class Authentication:
    """ASGI middleware: 401, 403, 503 while nobody can tell, or the caller's name in `request.state.caller`."""

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, root_path: str = "") -> None:
        self._app = app
        self._authenticator = authenticator
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its caller is known and may do what it asks for."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            rejection = await self._find_rejection(scope)
            if rejection is not None:
                return await rejection(scope, receive, send)
            if is_stream(scope["method"], strip_root_path(scope["path"], self._root_path)):
                return await self._serve_stream(scope, receive, send)
        await self._app(scope, receive, send)

    async def _serve_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a response that may outlive the right to it, and abort it when its caller has lost that right."""
        serving = asyncio.ensure_future(self._app(scope, receive, send))
        try:
            while not (await asyncio.wait({serving}, timeout=REAUTHORIZE_SECONDS))[0]:
                if await self._is_revoked(scope):
                    return
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    async def _is_revoked(self, scope: Scope) -> bool:
        try:
            return await self._authorize(scope) is not None
        except (errors.KubeError, HTTPException):
            # Undecided now, and allowed before.
            return False

    async def _find_rejection(self, scope: Scope) -> problems.ProblemResponse | None:
        try:
            return await self._authorize(scope)
        except errors.Forbidden:
            return _reject_undecided(scope, HTTPException(500, CANNOT_ASK))
        except errors.KubeError:
            return _reject_undecided(scope, problems.make_unavailable(UNDECIDED))
        except HTTPException as error:
            return _reject_undecided(scope, error)

    async def _authorize(self, scope: Scope) -> problems.ProblemResponse | None:
        """Return the response that rejects the request; None if its caller may do what it asks for."""
        caller = await self._authenticator.identify(_read_authorization(scope))
        if caller is None:
            return _reject_unknown(scope, self._authenticator.instructions)
        scope.setdefault("state", {})["caller"] = caller.name
        attributes = derive_attributes(scope["method"], strip_root_path(scope["path"], self._root_path))
        sentence = await self._authenticator.find_refusal(caller, attributes)
        return None if sentence is None else problems.make_rejection(scope, 403, sentence, reason="forbidden")


def _read_authorization(scope: Scope) -> bytes:
    # Of two headers, a proxy might have checked the other one.
    found = list_header_values(scope, b"authorization")
    return found[0] if len(found) == 1 else b""


def _reject_unknown(scope: Scope, instructions: str) -> problems.ProblemResponse:
    response = problems.make_rejection(scope, 401, instructions, reason="unauthenticated")
    for challenge in ('Bearer realm="lmms-eval"', 'Basic realm="lmms-eval", charset="UTF-8"'):
        response.headers.append("WWW-Authenticate", challenge)
    return response


def _reject_undecided(scope: Scope, error: HTTPException) -> problems.ProblemResponse:
    return problems.make_rejection(scope, error.status_code, error.detail, reason="undecided", headers=error.headers)
