"""One line of log for each request, and an id that names it in the log, in the answer and in every problem."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api.auth.attributes import list_header_values
from lmms_eval_api.auth.middleware import OPEN_PATHS
from lmms_eval_api.server.metrics import Metrics
from lmms_eval_core import jsonlog

HEADER: Final = b"x-request-id"
# Ids have to differ from each other and from those of other processes, and need not be hard to guess.
_PROCESS: Final = secrets.token_hex(12)
_numbers: Final = itertools.count()
ACCEPTED: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("lmms_eval_api.access")


@dataclass(slots=True)
class _Exchange:
    request_id: str
    started: float
    status: int = 500


class RequestContext:
    """ASGI middleware; the outermost one, so that refusals are logged too."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wraps one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        # Not the server's to set: it would put the prefix before each path, also where a proxy has left it on.
        scope["root_path"] = self._root_path
        exchange = _Exchange(_request_id(scope), time.perf_counter())
        state = scope.setdefault("state", {})
        state["request_id"] = exchange.request_id

        def annotated(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, exchange.request_id.encode())]}
            return send(message)

        try:
            await self._app(scope, receive, annotated)
        finally:
            seconds = time.perf_counter() - exchange.started
            self._metrics.answered(scope, status=exchange.status, seconds=seconds)
            _report(scope, exchange, seconds)


def _request_id(scope: Scope) -> str:
    """The caller's own id, so that its log and ours can be laid side by side; a new one unless it is harmless."""
    own = list_header_values(scope, HEADER)
    return own[0].decode() if own and ACCEPTED.fullmatch(own[0]) else f"{_PROCESS}{next(_numbers):08x}"


def _report(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    path = scope["path"]
    level = logging.DEBUG if path in OPEN_PATHS and exchange.status < 400 else logging.INFO
    facts: dict[str, Any] = {
        "method": scope["method"],
        # Without the query: what is in it is the caller's business.
        "path": path,
        "status": exchange.status,
        "milliseconds": round(seconds * 1000, 1),
        "caller": scope["state"].get("caller"),
        "rejected": scope["state"].get("rejected"),
        "request_id": exchange.request_id,
    }
    jsonlog.write(log, level, "request", facts)
