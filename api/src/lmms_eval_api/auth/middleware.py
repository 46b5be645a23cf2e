"""Authentication as the door of the application: no body is read and no route is looked up for a stranger.

A dependency of the routes would come after the body was parsed, and would leave out /docs, /openapi.json and unknown paths.
Whoever follows events or a log is looked at again now and then.
"""

import asyncio
from contextlib import suppress
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import below, wish
from lmms_eval_api.auth.authenticator import Authenticator
from lmms_eval_api.headers import sent
from lmms_eval_api.server.limits import is_stream
from lmms_eval_core.kube import errors

# The kubelet has no credentials. It comes by no proxy either, so that a path prefix plays no part.
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})

# How often the caller of an open stream is looked at again.
AGAIN_SECONDS: Final = 10.0
NOT_ALLOWED: Final = "The front end may not ask who you are: bind the ClusterRole system:auth-delegator to its service account."
NOT_TOLD: Final = "The API server cannot be asked who you are and what you may do; nothing was done. Try again."


class Authentication:
    """ASGI middleware: 401, 403, 503 while nobody can tell, or the caller's name in `request.state.caller`."""

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator, root_path: str = "") -> None:
        self._app = app
        self._authenticator = authenticator
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets known callers through to what they may do."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            refused = await self._refusal(scope)
            if refused is not None:
                return await refused(scope, receive, send)
            if is_stream(scope["method"], below(scope["path"], self._root_path)):
                return await self._lasting(scope, receive, send)
        await self._app(scope, receive, send)

    async def _lasting(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer that may outlive the right to it; without that, it breaks off."""
        answering = asyncio.ensure_future(self._app(scope, receive, send))
        try:
            while not (await asyncio.wait({answering}, timeout=AGAIN_SECONDS))[0]:
                if await self._is_refused_by_now(scope):
                    return
        finally:
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering

    async def _is_refused_by_now(self, scope: Scope) -> bool:
        try:
            return await self._answer(scope) is not None
        except (errors.KubeError, HTTPException):
            # Nobody can tell, and it was right before.
            return False

    async def _refusal(self, scope: Scope) -> problems.ProblemResponse | None:
        try:
            return await self._answer(scope)
        except errors.Forbidden:
            return _untold(scope, HTTPException(500, NOT_ALLOWED))
        except errors.KubeError:
            return _untold(scope, problems.unavailable(NOT_TOLD))
        except HTTPException as error:
            return _untold(scope, error)

    async def _answer(self, scope: Scope) -> problems.ProblemResponse | None:
        caller = await self._authenticator.caller(_authorization(scope))
        if caller is None:
            return _stranger(scope, self._authenticator.how_to)
        scope.setdefault("state", {})["caller"] = caller.name
        wished = wish(scope["method"], below(scope["path"], self._root_path))
        sentence = await self._authenticator.refusal(caller, wished)
        return None if sentence is None else problems.rejected(scope, 403, sentence, reason="forbidden")


def _authorization(scope: Scope) -> bytes:
    # Of two, a proxy might have looked at the other one.
    found = sent(scope, b"authorization")
    return found[0] if len(found) == 1 else b""


def _stranger(scope: Scope, how_to: str) -> problems.ProblemResponse:
    response = problems.rejected(scope, 401, how_to, reason="unauthenticated")
    for challenge in ('Bearer realm="lmms-eval"', 'Basic realm="lmms-eval", charset="UTF-8"'):
        response.headers.append("WWW-Authenticate", challenge)
    return response


def _untold(scope: Scope, error: HTTPException) -> problems.ProblemResponse:
    return problems.rejected(scope, error.status_code, error.detail, reason="undecided", headers=error.headers)
