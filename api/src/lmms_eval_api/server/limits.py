"""Limits of requests and open streams (429 and 503 before a body is read), and of the size of a body (413).

Each replica counts for itself. A rate is a token bucket, kept as one number per caller (generic cell rate algorithm): a
caller who comes back after a pause has the whole burst again.
"""

import math
import time
from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import is_stream, list_header_values, strip_root_path
from lmms_eval_api.settings import ApiSettings

STREAM_SECONDS: Final = 10
CALLERS: Final = 4096
BODY_STATUS: Final = 413
BODY_REASON: Final = "body"


class RateLimit:
    """At most `per_second` requests of each caller, and `burst` at once after a pause."""

    def __init__(self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        # The small summand, as a sum of intervals is not exact.
        self._slack = self._interval * (max(burst, 1) - 1 + 1e-9)
        self._clock = clock
        # The time at which each caller's requests so far will have been worked off at the rate.
        self._due: dict[str, float] = {}

    def take(self, caller: str) -> float:
        """Count one request and return 0, or count none and return the seconds after which to try again."""
        now = self._clock()
        due = max(self._due.get(caller, now), now)
        if due - now > self._slack:
            return due - now - self._slack
        self._due[caller] = due + self._interval
        if len(self._due) > CALLERS:
            self._due = {name: due for name, due in self._due.items() if due > now}
        return 0.0


class RequestLimits:
    """ASGI middleware, behind authentication, as limits are per caller."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ApiSettings,
        open_streams: "OpenStreams",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._root_path = settings.root_path
        self._streams = open_streams
        self._max_streams = settings.max_streams or math.inf
        self._requests = _make_rate_limit(settings.requests_per_second, 2 * settings.requests_per_second, clock)
        self._submissions = _make_rate_limit(settings.submissions_per_minute / 60, settings.submission_burst, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or reject it with the seconds after which to try again."""
        caller = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None:
            return await self._app(scope, receive, send)
        path = strip_root_path(scope["path"], self._root_path)
        rejection = self._find_rejection(scope, caller, path)
        if rejection is not None:
            return await rejection(scope, receive, send)
        if not is_stream(scope["method"], path):
            return await self._app(scope, receive, send)
        with self._streams:
            await self._app(scope, receive, send)

    def _find_rejection(self, scope: Scope, caller: str, path: str) -> problems.ProblemResponse | None:
        wait = self._requests.take(caller) if self._requests else 0.0
        if wait:
            sentence = "Too many requests from one caller; ask less often."
            return _reject(scope, 429, sentence, reason="requests", seconds=wait)
        if is_stream(scope["method"], path) and self._streams.count >= self._max_streams:
            sentence = "So many follow events and logs here that no more can; ask another replica, or later."
            return _reject(scope, 503, sentence, reason="streams", seconds=STREAM_SECONDS)
        submits = scope["method"] == "POST" and path == "/evaluate"
        wait = self._submissions.take(caller) if self._submissions and submits else 0.0
        if wait:
            sentence = "Too many submissions from one caller; wait a little."
            return _reject(scope, 429, sentence, reason="submissions", seconds=wait)
        return None


class OpenStreams:
    """The number of open streams."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *error: object) -> None:
        self.count -= 1


class BodyLimit:
    """ASGI middleware. Our own, as FastAPI's limit answers in plain text, and before authentication."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._sentence = f"The body is larger than {max_bytes} bytes, the most that an evaluation can need."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a body that is too large: by its announced length, else where it exceeds the limit."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if _read_announced_bytes(scope) > self._max_bytes:
            rejection = problems.make_rejection(scope, BODY_STATUS, self._sentence, reason=BODY_REASON)
            return await rejection(scope, receive, send)
        await self._app(scope, self._count_received(scope, receive), send)

    def _count_received(self, scope: Scope, receive: Receive) -> Receive:
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                scope["state"]["rejected"] = BODY_REASON
                raise HTTPException(BODY_STATUS, self._sentence)
            return message

        return receive_counted


def _make_rate_limit(per_second: float, burst: int, clock: Callable[[], float]) -> RateLimit | None:
    return RateLimit(per_second, burst, clock=clock) if per_second else None


def _reject(scope: Scope, status: int, sentence: str, *, reason: str, seconds: float) -> problems.ProblemResponse:
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return problems.make_rejection(scope, status, sentence, reason=reason, headers=headers)


def _read_announced_bytes(scope: Scope) -> int:
    length = list_header_values(scope, b"content-length")
    return int(length[0]) if length and length[0].isdigit() else 0
