"""Every route that there is, in every spelling, answers nobody without credentials; only the probes do."""

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from offline_application import TOKEN, make_offline_application

from lmms_eval_api.auth.cluster_accounts import TOKEN_REVIEWS
from lmms_eval_api.settings import AuthMode
from lmms_eval_core.kube.client import KubeClient, Object, Resource

# Named again here: one that is opened by mistake must be found.
OPEN = {"/livez", "/readyz"}
SIGN_IN = {"/ui/login", "/ui/login.css", "/ui/login.svg", "/ui/session", "/ui/session/end"}
KNOWN = {
    "/evaluate",
    "/jobs",
    "/jobs/{job_id}",
    "/queue",
    "/health",
    "/tasks",
    "/models",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/me",
    "/ui",
    "/ui/{path:path}",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "BREW")
WRONG: tuple[list[tuple[bytes, bytes]], ...] = (
    [],
    *(
        [(b"authorization", value)]
        for value in (b"", b"Bearer", b"Bearer wrong", b"secret", b"Basic", b"Token secret", b"\xff\0")
    ),
    [(b"authorization", b"Basic " + base64.b64encode(b"secret:wrong"))],
    [(b"authorization", b"Bearer wrong"), (b"authorization", b"Bearer secret")],
    [(b"authorization", b"Bearer secret"), (b"authorization", b"Bearer wrong")],
    [(b"proxy-authorization", b"Bearer secret"), (b"x-forwarded-user", b"admin"), (b"cookie", b"token=secret")],
    [(b"x-forwarded-for", b"127.0.0.1"), (b"x-original-url", b"/livez"), (b"x-http-method-override", b"GET")],
)


class Answer(NamedTuple):
    status: int
    headers: dict[str, list[str]]
    body: bytes


class Cluster:
    """What an API server says of callers: it knows one token."""

    namespace = "team"

    def __init__(self, *, allows: bool = True) -> None:
        self._allows = allows

    async def create(self, resource: Resource, body: Object) -> Object:
        if resource == TOKEN_REVIEWS:
            return {"status": {"authenticated": body["spec"]["token"] == TOKEN, "user": {"username": "somebody"}}}
        return {"status": {"allowed": self._allows}}


def of_the_cluster(tokens: Path, *, allows: bool = True) -> FastAPI:
    """The application in the mode that asks the API server."""
    return make_offline_application(tokens, client=cast(KubeClient, Cluster(allows=allows)), auth=AuthMode.KUBERNETES)


@pytest.fixture(params=["", "/prefix", AuthMode.KUBERNETES])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> FastAPI:
    if request.param is AuthMode.KUBERNETES:
        return of_the_cluster(tmp_path)
    return make_offline_application(tmp_path, root_path=request.param)


async def ask(app: FastAPI, method: str, target: str, headers: list[tuple[bytes, bytes]]) -> Answer:
    """The request as uvicorn gives it to the application, without a client that would tidy it up."""
    raw, _, query = target.partition("?")
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method}
    scope |= {
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
    }
    scope |= {"headers": headers, "client": ("192.0.2.1", 1), "server": ("front-end", 80), "state": {}}
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError(f"{method} {target}: the body of a stranger is read")

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode(), []).append(value.decode())
    return Answer(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


def templates(app: FastAPI) -> set[str]:
    paths: set[str] = set()
    for route in iter_route_contexts(app.routes):
        # One without methods would be a mount or a socket, which this walk would not see into.
        assert route.methods and route.path is not None
        paths.add(route.path)
    assert paths >= KNOWN | OPEN | SIGN_IN
    assert {path.replace(":path}", "}") for path in paths} >= set(app.openapi()["paths"])
    return paths


def spellings(template: str) -> Iterator[str]:
    path = re.sub(r"{\w+(:path)?}", "a", template)
    yield from (
        path,
        f"/{path}",
        f"{path}/",
        f"{path}//",
        path.upper(),
        path.title(),
        f"/prefix{path}",
        f"/prefix/{path}",
    )
    yield from (
        f"/./{path}",
        f"/x/..{path}",
        f"/livez/..{path}",
        f"/livez{path}",
        f"/readyz/..%2f..{path}",
        f"/%2e{path}",
    )
    yield from (
        f"/{quote(path[1:], safe='')}",
        "".join(f"%{byte:02x}" for byte in path.encode()),
        path.replace("/", "%2F"),
    )
    yield from (f"{path}%00", f"{path};a=b", f"{path}.json", f"{path}%20", f"{path}?token=secret&access_token=secret")
    yield from (path.replace("/", "\\"), f"http://front-end{path}", f"*{path}", "", "*", f"{path}%0d%0aX-A:%20b")


def is_open(target: str) -> bool:
    """The probes and nothing else, in whatever encoding; without a prefix, as the kubelet comes by no proxy."""
    return unquote(target.partition("?")[0]) in OPEN


def signs_in(app: FastAPI, target: str) -> bool:
    """Where one signs in, in whatever encoding, below the prefix or where a proxy has removed that."""
    return unquote(target.partition("?")[0]).removeprefix(app.state.web.root_path) in SIGN_IN


def list_targets(app: FastAPI) -> list[str]:
    """Every spelling of every path that is closed to strangers, and of the probes."""
    targets = {spelling for template in templates(app) for spelling in spellings(template)}
    assert len(targets) > 300
    closed = {target for target in targets if not signs_in(app, target)}
    assert {path.removeprefix("/prefix") for path in map(unquote, targets - closed)} <= {
        spelling for path in SIGN_IN for spelling in (path, f"{path}?token=secret&access_token=secret")
    }
    return sorted(closed)


async def test_nothing_but_the_probes_answers_a_stranger(app: FastAPI) -> None:
    targets = list_targets(app)
    for method, target in itertools.product(METHODS, targets):
        answer = await ask(app, method, target, [])
        if is_open(target):
            assert answer.status == (
                503 if method == "GET" and "ready" in unquote(target) else 200 if method == "GET" else 405
            )
        else:
            assert answer.status == 401, f"{method} {target}: {answer.status}"
            assert [line.split()[0] for line in answer.headers["www-authenticate"]] == ["Bearer", "Basic"]


async def test_no_credentials_but_the_right_ones_open_anything(app: FastAPI) -> None:
    closed = sorted(templates(app) - OPEN - SIGN_IN)
    for template, headers, method in itertools.product(closed, WRONG, ("GET", "POST", "DELETE")):
        target = next(spellings(template))
        assert (await ask(app, method, target, headers)).status == 401, f"{method} {target} {headers}"


async def test_the_right_ones_do(app: FastAPI) -> None:
    for header in (b"Bearer secret", b"Basic " + base64.b64encode(b"anybody:secret")):
        assert (await ask(app, "GET", "/openapi.json", [(b"authorization", header)])).status == 200


async def test_who_is_known_and_has_no_right_gets_into_nothing(tmp_path: Path) -> None:
    app, known = of_the_cluster(tmp_path, allows=False), [(b"authorization", b"Bearer secret")]
    for method, target in itertools.product(METHODS, list_targets(app)):
        reads = method in ("GET", "HEAD", "OPTIONS")
        # The page itself, and what tells a person which rights are missing.
        needs_no_right = reads and re.fullmatch("/(me|ui|ui/.*)", unquote(target.partition("?")[0]), re.DOTALL)
        if not is_open(target) and not needs_no_right:
            assert (await ask(app, method, target, known)).status == 403, f"{method} {target}"


async def test_all_strangers_are_told_the_same(app: FastAPI) -> None:
    told = {
        re.sub(rb'"request_id":"[^"]*"', b"", (await ask(app, method, target, [])).body)
        for method, target in (
            ("GET", "/jobs/a"),
            ("POST", "/evaluate"),
            ("GET", "/nowhere"),
            ("PUT", "/queue"),
            ("GET", "/docs"),
        )
    }
    assert len(told) == 1


async def test_the_document_asks_for_credentials_everywhere(app: FastAPI) -> None:
    document = app.openapi()
    assert document["security"] == [{"token": []}, {"password": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert "security" not in operation or path in OPEN, f"{method} {path}"


async def test_a_route_that_is_added_is_closed(tmp_path: Path) -> None:
    app = make_offline_application(tmp_path)

    @app.get("/added")
    async def added() -> str:
        return "inside"

    assert (await ask(app, "GET", "/added", [])).status == 401
    assert (await ask(app, "GET", "/added", [(b"authorization", b"Bearer secret")])).body == b'"inside"'
