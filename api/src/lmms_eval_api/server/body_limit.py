"""Bodies have a largest size, announced or not. Own, as the limit of FastAPI answers in plain text and before the door."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import list_header_values

STATUS: Final = 413
REASON: Final = "body"


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._sentence = f"The body is larger than {max_bytes} bytes, the most that an evaluation can need."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a body by its announced length, else where it passes the limit."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if _announced(scope) > self._max_bytes:
            return await problems.make_rejection(scope, STATUS, self._sentence, reason=REASON)(scope, receive, send)
        await self._app(scope, self._counted(scope, receive), send)

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                scope["state"]["rejected"] = REASON
                raise HTTPException(STATUS, self._sentence)
            return message

        return counted


def _announced(scope: Scope) -> int:
    length = list_header_values(scope, b"content-length")
    return int(length[0]) if length and length[0].isdigit() else 0
