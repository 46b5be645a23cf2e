"""Keeps responses that clients ask for again and again: a job that has not ended, the queue, what the evaluator image knows.

The routes make every response. The cache keeps it beside the state that it tells of, and sends it again for as long as that
is the state. It stands behind authentication and limits, so that it never decides who may read.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api.auth.attributes import list_header_values, strip_root_path
from lmms_eval_api.jobs.snapshot import ENDED
from lmms_eval_api.routes.consistency import written
from lmms_eval_api.routes.dependencies import Backend

JOB: Final = "/jobs/"
QUEUE: Final = "/queue"
TASKS: Final = "/tasks"
MODELS: Final = "/models"
# Those without links, of which there is one response for everybody. However large it is, it is kept.
COMMON: Final = frozenset({QUEUE, TASKS, MODELS})
AGE: Final = b"age"
# What a response depends on besides the state: the links in it are absolute (`links.base_url`).
VARYING: Final = frozenset({b"host", b"x-forwarded-proto"})
# The largest response about a job that is kept; and the sum of all, which is twelve thousand of the usual size.
MAX_BYTES: Final = 16 * 1024
ALL_BYTES: Final = 32 * 1024 * 1024

# The path, and the varying headers by name and value: a value alone would not say which of them it belongs to.
Key = tuple[str | tuple[bytes, bytes], ...]
# An object that is another one after every change, and the position in the queue, which changes with other jobs.
State = tuple[object, int | None]


@dataclass(slots=True)
class KeptResponse:
    """A response of a route, the state that it tells of, and the number of changes when the two were last compared."""

    state: State
    changes: int
    route: Any
    headers: list[tuple[bytes, bytes]]
    """Those that are not of one answer alone: without Age, which is told anew if the route has told it."""
    has_age: bool
    body: bytes


class ResponseCache:
    """ASGI middleware, next to the routes."""

    def __init__(self, app: ASGIApp, *, backend: Backend, root_path: str = "") -> None:
        self._app = app
        self._backend = backend
        self._jobs = backend.evaluations.cache
        self._catalogue = backend.catalogue
        self._root_path = root_path
        self._kept: dict[Key, KeptResponse] = {}
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response that is kept, or lets the route make one and keeps that."""
        path = self._path(scope)
        key = _key(scope, path) if path is not None else None
        if path is None or key is None:
            return await self._app(scope, receive, send)
        kept = self._kept.get(key)
        if kept is None or not self._is_current(kept, path):
            return await self._app(scope, receive, self._keeping(scope, path, key, send))
        scope["route"] = kept.route
        age = [(AGE, b"%d" % self._backend.reflector.stale_for())] if kept.has_age else []
        await send({"type": "http.response.start", "status": 200, "headers": [*kept.headers, *age]})
        await send({"type": "http.response.body", "body": kept.body})

    def _path(self, scope: Scope) -> str | None:
        """What is asked for, if its response may be kept; None if the request has to be looked at more closely."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or self._backend.stale():
            return None
        # A cookie says how new the state has to be. Most callers have none, and need none to be read.
        if list_header_values(scope, b"cookie") and not self._backend.reflector.knows(written(HTTPConnection(scope).cookies)):
            return None
        path = strip_root_path(scope["path"], self._root_path)
        if path.startswith(JOB):
            return path
        # A caller who has the response already is told so by the route.
        return path if path in COMMON and not list_header_values(scope, b"if-none-match") else None

    def _is_current(self, kept: KeptResponse, path: str) -> bool:
        """Whether the response tells of the present state.

        While nothing has changed, nothing is looked up: the place of one among ten thousand is spread over so much memory that
        finding it takes longer than all the rest.
        """
        changes = self._changes
        if kept.changes != changes:
            if kept.state != self._state(path):
                return False
            kept.changes = changes
        return True

    @property
    def _changes(self) -> int:
        """Another number after every change of what responses tell of."""
        return self._jobs.changes + self._catalogue.changes

    def _state(self, path: str) -> State | None:
        """What a response at this path tells of at present; None if that is not known in full, or cannot be kept."""
        if path == QUEUE:
            return self._jobs.get_overview(), None
        if path == TASKS:
            return self._catalogue.list_tasks(), None
        if path == MODELS:
            return self._catalogue.list_models(), None
        job = self._jobs.get(path.removeprefix(JOB))
        # The files of what has ended may come and go without a change of the object.
        return (job, self._jobs.find_position(job)) if job is not None and job.status not in ENDED else None

    def _keeping(self, scope: Scope, path: str, key: Key, send: Send) -> Send:
        # From before the route: if the state changes meanwhile, the response counts as old.
        state, changes = self._state(path), self._changes
        if state is None:
            return send
        headers: list[tuple[bytes, bytes]] = []

        def keeping(message: Message) -> Awaitable[None]:
            nonlocal headers
            if message["type"] == "http.response.start":
                headers = message["headers"] if message["status"] == 200 else []
            elif message.get("more_body"):
                # Too large to be kept.
                headers = []
            elif headers:
                lasting = [header for header in headers if header[0] != AGE]
                aged = len(lasting) < len(headers)
                self._keep(key, KeptResponse(state, changes, scope.get("route"), lasting, aged, message["body"]))
            return send(message)

        return keeping

    def _keep(self, key: Key, response: KeptResponse) -> None:
        if len(response.body) > MAX_BYTES and key[0] not in COMMON:
            return
        self._drop(key)
        self._kept[key] = response
        self._bytes += len(response.body)
        while self._bytes > ALL_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        dropped = self._kept.pop(key, None)
        self._bytes -= len(dropped.body) if dropped is not None else 0


def _key(scope: Scope, path: str) -> Key | None:
    """Under what a response is kept; None for what no key could tell apart."""
    if path in COMMON:
        return (path,)
    varying = [header for header in scope["headers"] if header[0] in VARYING]
    for name, _ in varying:
        if name == b"host":
            return (path, *varying)
    # Without a Host, the links name the address that the connection came to.
    return None
