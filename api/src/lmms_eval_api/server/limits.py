"""How much one caller may ask for, and how many streams are open at once: 429 and 503 before a body is read.

Each replica counts for itself. The rates are buckets kept as one number a caller (the generic cell rate algorithm), so that
a caller who comes back after a pause finds the whole burst again.
"""

import math
import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from lmms_eval_api import problems
from lmms_eval_api.auth.attributes import is_stream, strip_root_path
from lmms_eval_api.settings import ApiSettings

STREAM_SECONDS: Final = 10
CALLERS: Final = 4096


class Rate:
    """So many a second for each caller, and `burst` at once after a pause."""

    def __init__(self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        # A sum of intervals is no exact number.
        self._slack = self._interval * (max(burst, 1) - 1 + 1e-9)
        self._clock = clock
        # When each caller will have used up what was given, if nothing more is.
        self._due: dict[str, float] = {}

    def wait(self, caller: str) -> float:
        """Counts one and gives 0, or counts none and gives the seconds after which one is free."""
        now = self._clock()
        due = max(self._due.get(caller, now), now)
        if due - now > self._slack:
            return due - now - self._slack
        self._due[caller] = due + self._interval
        if len(self._due) > CALLERS:
            self._due = {name: due for name, due in self._due.items() if due > now}
        return 0.0


class Limits:
    """ASGI middleware, behind the door: a limit is a caller's."""

    def __init__(
        self, app: ASGIApp, *, settings: ApiSettings, open_streams: "OpenStreams", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._root_path = settings.root_path
        self._streams = open_streams
        self._max_streams = settings.max_streams or math.inf
        self._requests = _rate(settings.requests_per_second, 2 * settings.requests_per_second, clock)
        self._submissions = _rate(settings.submissions_per_minute / 60, settings.submission_burst, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request through, or says when to come again."""
        caller = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or caller is None:
            return await self._app(scope, receive, send)
        path = strip_root_path(scope["path"], self._root_path)
        refused = self._refusal(scope, caller, path)
        if refused is not None:
            return await refused(scope, receive, send)
        if not is_stream(scope["method"], path):
            return await self._app(scope, receive, send)
        with self._streams:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope, caller: str, path: str) -> problems.ProblemResponse | None:
        wait = self._requests.wait(caller) if self._requests else 0.0
        if wait:
            return _later(scope, 429, "Too many requests from one caller; ask less often.", reason="requests", seconds=wait)
        if is_stream(scope["method"], path) and self._streams.count >= self._max_streams:
            sentence = "So many follow events and logs here that no more can; ask another replica, or later."
            return _later(scope, 503, sentence, reason="streams", seconds=STREAM_SECONDS)
        submits = scope["method"] == "POST" and path == "/evaluate"
        wait = self._submissions.wait(caller) if self._submissions and submits else 0.0
        if wait:
            return _later(scope, 429, "Too many submissions from one caller; wait a little.", reason="submissions", seconds=wait)
        return None


class OpenStreams:
    """How many streams are open."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *error: object) -> None:
        self.count -= 1


def _rate(per_second: float, burst: int, clock: Callable[[], float]) -> Rate | None:
    return Rate(per_second, burst, clock=clock) if per_second else None


def _later(scope: Scope, status: int, sentence: str, *, reason: str, seconds: float) -> problems.ProblemResponse:
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return problems.make_rejection(scope, status, sentence, reason=reason, headers=headers)
