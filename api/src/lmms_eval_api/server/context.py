"""The log line of each request, and the id that names it in the log, in the response and in every problem."""

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
from lmms_eval_api.server.metrics import ApiMetrics
from lmms_eval_core import jsonlog

HEADER: Final = b"x-request-id"
# Ids have to be unique, also among processes, and need not be hard to guess.
_PROCESS: Final = secrets.token_hex(12)
_numbers: Final = itertools.count()
HARMLESS_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = logging.getLogger("lmms_eval_api.access")


@dataclass(slots=True)
class _Exchange:
    request_id: str
    started: float
    status: int = 500


class RequestContext:
    """ASGI middleware; the outermost one, so that rejected requests are logged too."""

    def __init__(self, app: ASGIApp, *, metrics: ApiMetrics, root_path: str = "") -> None:
        self._app = app
        self._root_path = root_path
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the request its id, and log and count its response."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        # Set here, not by the server, which would prepend the prefix to each path, also where a proxy has left it on.
        scope["root_path"] = self._root_path
        exchange = _Exchange(_choose_request_id(scope), time.perf_counter())
        state = scope.setdefault("state", {})
        state["request_id"] = exchange.request_id

        def send_annotated(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, exchange.request_id.encode())]}
            return send(message)

        try:
            await self._app(scope, receive, send_annotated)
        finally:
            seconds = time.perf_counter() - exchange.started
            self._metrics.record_response(scope, status=exchange.status, seconds=seconds)
            _log_request(scope, exchange, seconds)


def _choose_request_id(scope: Scope) -> str:
    """Return the caller's own id if it is harmless, so that both logs can be joined; else a new one."""
    own = list_header_values(scope, HEADER)
    return own[0].decode() if own and HARMLESS_ID.fullmatch(own[0]) else f"{_PROCESS}{next(_numbers):08x}"


def _log_request(scope: Scope, exchange: _Exchange, seconds: float) -> None:
    path = scope["path"]
    level = logging.DEBUG if path in OPEN_PATHS and exchange.status < 400 else logging.INFO
    facts: dict[str, Any] = {
        "method": scope["method"],
        # Without the query, which may hold what is private to the caller.
        "path": path,
        "status": exchange.status,
        "milliseconds": round(seconds * 1000, 1),
        "caller": scope["state"].get("caller"),
        "rejected": scope["state"].get("rejected"),
        "request_id": exchange.request_id,
    }
    jsonlog.write(log, level, "request", facts)
