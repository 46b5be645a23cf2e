"""Caches responses that clients request again and again: a job that has not ended, the queue, the catalogue.

The routes make every response. The cache keeps it with the state that it shows, and sends it again while the state is
the same. It comes after authentication and limits, so that it never decides who may read.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lmms_eval_api.auth.attributes import list_header_values, strip_root_path
from lmms_eval_api.jobs.snapshot import ENDED
from lmms_eval_api.routes.dependencies import Backend, read_version_cookie

JOB: Final = "/jobs/"
QUEUE: Final = "/queue"
TASKS: Final = "/tasks"
MODELS: Final = "/models"
# Paths of responses without links, which are the same for all callers. They are kept, however large.
COMMON: Final = frozenset({QUEUE, TASKS, MODELS})
AGE: Final = b"age"
# The headers on which a response depends besides the state: its links are absolute (`read_base_url`).
VARYING: Final = frozenset({b"host", b"x-forwarded-proto"})
# The largest response about a job that is kept; and the sum of all, which is twelve thousand of the usual size.
MAX_BYTES: Final = 16 * 1024
ALL_BYTES: Final = 32 * 1024 * 1024

# The path, and the varying headers with their names, as a value alone would not tell which header it belongs to.
Key = tuple[str | tuple[bytes, bytes], ...]
# An object that is replaced at every change, and the position in the queue, which changes with other jobs.
ResponseState = tuple[object, int | None]


@dataclass(slots=True)
class KeptResponse:
    """A response of a route, the state that it shows, and the number of changes when the two were last compared."""

    state: ResponseState
    changes: int
    route: Any
    headers: list[tuple[bytes, bytes]]
    """Headers that later responses repeat: without Age, which is set anew if the route has set it."""
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
        """Send the response that is kept, or let the route make one and keep that."""
        path = self._find_path(scope)
        key = _make_key(scope, path) if path is not None else None
        if path is None or key is None:
            return await self._app(scope, receive, send)
        kept = self._kept.get(key)
        if kept is None or not self._is_current(kept, path):
            return await self._app(scope, receive, self._make_keeping_send(scope, path, key, send))
        scope["route"] = kept.route
        age = [(AGE, b"%d" % self._backend.reflector.stale_for())] if kept.has_age else []
        await send({"type": "http.response.start", "status": 200, "headers": [*kept.headers, *age]})
        await send({"type": "http.response.body", "body": kept.body})

    def _find_path(self, scope: Scope) -> str | None:
        """Return the path, if its response may be kept; None if the request needs a closer look."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or self._backend.is_stale():
            return None
        # A cookie says how new the state has to be. Most callers send none, and nothing has to be parsed.
        if list_header_values(scope, b"cookie") and not self._backend.reflector.knows(
            read_version_cookie(HTTPConnection(scope).cookies)
        ):
            return None
        path = strip_root_path(scope["path"], self._root_path)
        if path.startswith(JOB):
            return path
        # The route answers a caller who has the response already.
        return path if path in COMMON and not list_header_values(scope, b"if-none-match") else None

    def _is_current(self, kept: KeptResponse, path: str) -> bool:
        """Whether the response shows the present state.

        While nothing has changed, nothing is looked up: the place of one job among ten thousand is spread over so much
        memory that finding it takes longer than all the rest.
        """
        changes = self._changes
        if kept.changes != changes:
            if kept.state != self._find_state(path):
                return False
            kept.changes = changes
        return True

    @property
    def _changes(self) -> int:
        """A number that differs after every change of what responses show."""
        return self._jobs.changes + self._catalogue.changes

    def _find_state(self, path: str) -> ResponseState | None:
        """Return what a response at this path shows at present; None if that is not fully known, or cannot be kept."""
        if path == QUEUE:
            return self._jobs.get_overview(), None
        if path == TASKS:
            return self._catalogue.list_tasks(), None
        if path == MODELS:
            return self._catalogue.list_models(), None
        job = self._jobs.get(path.removeprefix(JOB))
        # The files of a job that has ended may come and go without a change of the object.
        return (job, self._jobs.find_position(job)) if job is not None and job.status not in ENDED else None

    def _make_keeping_send(self, scope: Scope, path: str, key: Key, send: Send) -> Send:
        # Read before the route runs: if the state changes meanwhile, the response counts as old.
        state, changes = self._find_state(path), self._changes
        if state is None:
            return send
        headers: list[tuple[bytes, bytes]] = []

        def send_and_keep(message: Message) -> Awaitable[None]:
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

        return send_and_keep

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


def _make_key(scope: Scope, path: str) -> Key | None:
    """Return the key under which a response is kept; None if no key could tell it apart."""
    if path in COMMON:
        return (path,)
    varying = [header for header in scope["headers"] if header[0] in VARYING]
    for name, _ in varying:
        if name == b"host":
            return (path, *varying)
    # Without a Host header, the links name the address that the connection came to.
    return None
