"""Authentication as middleware: for an unknown caller, no body is read and no route is looked up.

A dependency of the routes would run after the body was parsed, and would leave out /docs, /openapi.json and unknown
paths. The caller of an open stream is authorized again every few seconds.
"""

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import (
    is_stream,
    list_attributes,
    list_header_values,
    needs_identity_alone,
    strip_root_path,
)
from lmms_eval_api.auth.authenticator import Authenticator, Caller
from lmms_eval_api.auth.browsers import (
    find_foreign_host,
    has_fetch_metadata,
    is_foreign_write,
    may_use_session,
    opens_page,
)
from lmms_eval_api.auth.sessions import SessionSeal
from lmms_eval_api.auth.trusted_proxy import TrustedProxy
from lmms_eval_api.settings import ApiSettings, AuthMode
from lmms_eval_core.kube import errors

# The kubelet has no credentials. Its probes come through no proxy, so that a path prefix plays no part.
OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})
# Signing in and out: the form, its stylesheet and icon, and where it is sent.
SIGN_IN: Final = "/ui/login"
SIGN_IN_PATHS: Final = frozenset({SIGN_IN, "/ui/login.css", "/ui/login.svg", "/ui/session", "/ui/session/end"})

# Between two authorizations of the caller of an open stream.
REAUTHORIZE_SECONDS: Final = 10.0
CROSS_SITE: Final = "Another site's page has sent this request; it was not carried out."
CANNOT_ASK: Final = (
    "The front end may not ask who you are: bind the ClusterRole system:auth-delegator to its service account."
)
UNDECIDED: Final = "The API server cannot be asked who you are and what you may do; nothing was done. Try again."


class Authentication:
    """ASGI middleware: 401, 403, 503 while nobody can tell, or the caller's name in `request.state.caller`.

    `request.state.identity` is the caller, and `request.state.session` the session, where one spoke for the caller.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        sessions: SessionSeal,
        settings: ApiSettings,
        proxy: TrustedProxy | None = None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._sessions = sessions
        self._proxy = proxy
        self._root_path = settings.root_path
        self._insecure = settings.web_insecure
        # Where credentials are asked for, a page that had its name rebound has none.
        self._hosts = frozenset(settings.hosts) if settings.auth is AuthMode.NONE else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its caller is known and may do what it asks for."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            path = strip_root_path(scope["path"], self._root_path)
            rejection = self._find_foreign(scope)
            if rejection is None and path not in SIGN_IN_PATHS:
                rejection = await self._find_rejection(scope)
            if rejection is not None:
                return await rejection(scope, receive, send)
            if is_stream(scope["method"], path):
                return await self._serve_stream(scope, receive, send)
        await self._app(scope, receive, send)

    def _find_foreign(self, scope: Scope) -> Response | None:
        """Return the response that rejects what a page of another site has a browser send, whatever the credentials."""
        if is_foreign_write(scope):
            return problems.make_rejection(scope, 403, CROSS_SITE, reason="cross_site")
        host = find_foreign_host(scope, self._hosts) if self._hosts is not None else None
        if host is None:
            return None
        sentence = (
            f"This front end lets everybody in, and so answers under its own names alone; {host!r} is none of them. "
            "Its administrator can add the name (api.web.hosts)."
        )
        return problems.make_rejection(scope, 403, sentence, reason="host")

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

    async def _find_rejection(self, scope: Scope) -> Response | None:
        try:
            return await self._authorize(scope)
        except errors.Forbidden:
            return _reject_undecided(scope, HTTPException(500, CANNOT_ASK))
        except errors.KubeError:
            return _reject_undecided(scope, problems.make_unavailable(UNDECIDED))
        except HTTPException as error:
            return _reject_undecided(scope, error)

    async def _authorize(self, scope: Scope) -> Response | None:
        """Return the response that rejects the request; None if its caller may do what it asks for."""
        path, state = strip_root_path(scope["path"], self._root_path), scope.setdefault("state", {})
        caller = await self._identify(scope, path)
        if caller is None:
            return self._reject_unknown(scope, path)
        state["caller"], state["identity"] = caller.name, caller
        if needs_identity_alone(scope["method"], path):
            return None
        for attributes in list_attributes(scope["method"], path, scope.get("query_string", b"")):
            sentence = await self._authenticator.find_refusal(caller, attributes)
            if sentence is not None:
                return problems.make_rejection(scope, 403, sentence, reason="forbidden")
        return None

    async def _identify(self, scope: Scope, path: str) -> Caller | None:
        """Return whom a trusted proxy names; where it names nobody, whom the credentials belong to."""
        named = await self._proxy.read_caller(scope) if self._proxy is not None else None
        scope["state"]["proxied"] = named is not None
        return named or await self._authenticator.identify(self._read_authorization(scope, path))

    def _read_authorization(self, scope: Scope, path: str) -> bytes:
        """Return the Authorization header; for a browser that has none, the one that its session stands for."""
        found = list_header_values(scope, b"authorization")
        if found:
            # Of two headers, a proxy might have checked the other one.
            return found[0] if len(found) == 1 else b""
        text = HTTPConnection(scope).cookies.get(self._sessions.cookie) if _has_cookies(scope) else None
        if text is None or not may_use_session(scope, path, insecure=self._insecure):
            return b""
        session = scope["state"]["session"] = self._sessions.open(text)
        return session.authorization if session is not None else b""

    def _reject_unknown(self, scope: Scope, path: str) -> Response:
        if opens_page(scope, path):
            return self._send_to_sign_in(scope, path)
        response = problems.make_rejection(scope, 401, self._authenticator.instructions, reason="unauthenticated")
        response.headers.append("WWW-Authenticate", 'Bearer realm="lmms-eval"')
        if not has_fetch_metadata(scope):
            # A browser would open a dialog of its own, and keep what is entered there until it is closed.
            response.headers.append("WWW-Authenticate", 'Basic realm="lmms-eval", charset="UTF-8"')
        return response

    def _send_to_sign_in(self, scope: Scope, path: str) -> Response:
        scope["state"]["rejected"] = "unauthenticated"
        query = scope["query_string"].decode("latin-1")
        wanted = quote(self._root_path + path) + (f"?{query}" if query else "")
        address = f"{self._root_path}{SIGN_IN}?{urlencode({'next': wanted})}"
        return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


def _has_cookies(scope: Scope) -> bool:
    return bool(list_header_values(scope, b"cookie"))


def _reject_undecided(scope: Scope, error: HTTPException) -> problems.ProblemResponse:
    return problems.make_rejection(scope, error.status_code, error.detail, reason="undecided", headers=error.headers)
