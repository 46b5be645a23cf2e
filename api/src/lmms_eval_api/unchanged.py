"""What has not changed since it was last asked for is answered from memory: clients ask for a job again and again until it ends.

The routes make every answer. This keeps those of jobs that have not ended, and that of the queue, beside the state that they
tell of, and gives them again for as long as that is the state.
"""

from typing import Any, Final, NamedTuple

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api.auth.wishes import below
from lmms_eval_api.consistency import written
from lmms_eval_api.job import ENDED
from lmms_eval_api.routes.dependencies import Backend

JOB: Final = "/jobs/"
QUEUE: Final = "/queue"
# What an answer depends on besides the state: the links in it are absolute.
VARYING: Final = frozenset({b"host", b"x-forwarded-proto"})
# One answer, but for that of the queue; and all of them, which is ten thousand of the usual size.
MAX_BYTES: Final = 16 * 1024
ALL_BYTES: Final = 32 * 1024 * 1024

Place = tuple[str, ...]
# An object that is another one after every change, and the position in the queue, which changes with others.
State = tuple[object, int | None]


class Answer(NamedTuple):
    """What a route has answered, and of which state."""

    state: State
    route: Any
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def tells_of(self, state: State) -> bool:
        """Whether it is the answer still."""
        return self.state[0] is state[0] and self.state[1] == state[1]


class Unchanged:
    """ASGI middleware, next to the routes."""

    def __init__(self, app: ASGIApp, *, backend: Backend, root_path: str = "") -> None:
        self._app = app
        self._backend = backend
        self._root_path = root_path
        self._answers: dict[Place, Answer] = {}
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers from memory, or lets the route answer and keeps that."""
        asked = self._asked(scope)
        if asked is None:
            return await self._app(scope, receive, send)
        place, state = asked
        known = self._answers.get(place)
        if known is None or not known.tells_of(state):
            return await self._app(scope, receive, self._keeping(scope, place, state, send))
        scope["route"] = known.route
        age = (b"age", str(int(self._backend.reflector.stale_for())).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [*known.headers, age]})
        await send({"type": "http.response.body", "body": known.body})

    def _asked(self, scope: Scope) -> tuple[Place, State] | None:
        """What is asked for and how that stands; None if it has to be looked at more closely."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or self._backend.stale():
            return None
        path, cache = below(scope["path"], self._root_path), self._backend.evaluations.cache
        if not self._backend.reflector.knows(written(HTTPConnection(scope).cookies)):
            return None
        if path == QUEUE:
            return (path,), (cache.overview(), None)
        job = cache.get(path[len(JOB) :]) if path.startswith(JOB) else None
        if job is None or job.status in ENDED:
            return None
        varying = (value.decode("latin-1") for name, value in scope["headers"] if name in VARYING)
        return (path, *varying), (job, cache.position(job))

    def _keeping(self, scope: Scope, place: Place, state: State, send: Send) -> Send:
        start: Message = {}

        async def keeping(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            elif start["status"] == 200 and not message.get("more_body"):
                self._keep(place, Answer(state, scope.get("route"), _lasting(start["headers"]), message["body"]))
            await send(message)

        return keeping

    def _keep(self, place: Place, answer: Answer) -> None:
        if len(answer.body) > MAX_BYTES and place != (QUEUE,):
            return
        self._drop(place)
        self._answers[place] = answer
        self._bytes += len(answer.body)
        while self._bytes > ALL_BYTES:
            self._drop(next(iter(self._answers)))

    def _drop(self, place: Place) -> None:
        dropped = self._answers.pop(place, None)
        self._bytes -= len(dropped.body) if dropped is not None else 0


def _lasting(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those that are not of one answer alone; before the outer middleware adds its own, in place."""
    return [(name, value) for name, value in headers if name != b"age"]
