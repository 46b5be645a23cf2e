"""GET /ui/: the files of the page, what answers in their place, and the headers on all of it."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from offline_application import BEARER, make_offline_application

from lmms_eval_api.settings import AuthMode

INDEX = b'<!doctype html><html><head><base href="/"><script type="module" src="assets/a.js"></script></head></html>'
SCRIPT = b"console.log('a')" * 100
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


def make_bundle(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(INDEX)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "a.js").write_bytes(SCRIPT)
    (folder / "assets" / "a.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "assets" / "a.css").write_text("p {}")
    return folder


def make_app(folder: Path, **settings: Any) -> FastAPI:
    tokens = folder / "tokens"
    tokens.mkdir()
    (folder / "outside.txt").write_text("outside")
    return make_offline_application(tokens, web=make_bundle(folder / "web"), **settings)


async def get(app: FastAPI, path: str, base: str = "https://front-end", **headers: str) -> httpx.Response:
    # Without one that httpx would add by itself.
    sent = {**BEARER, "Accept-Encoding": "identity", **{name.replace("_", "-"): text for name, text in headers.items()}}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, headers=sent) as session:
        return await session.get(path)


def check_headers(answer: httpx.Response) -> None:
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("root_path", ["", "/lmms-eval"])
async def test_every_path_that_is_no_file_is_the_page(tmp_path: Path, root_path: str) -> None:
    app = make_app(tmp_path, root_path=root_path)
    for path in ("/ui/", "/ui/runs", "/ui/runs/a-run/mme/7?filter=wrong", "/ui/index.html"):
        answer = await get(app, root_path + path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache"), path
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.text.count("<base") == 1
        assert f'<base href="{root_path}/ui/">' in answer.text
        check_headers(answer)
        known = await get(app, root_path + path, If_None_Match=answer.headers["ETag"])
        assert (known.status_code, known.content) == (304, b"")
        check_headers(known)
    moved = await get(app, f"{root_path}/ui")
    assert (moved.status_code, moved.headers["Location"]) == (308, f"{root_path}/ui/")


async def test_assets_are_kept_for_ever_and_sent_compressed(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    for accepted, encoding in (("gzip, br", "gzip"), ("gzip;q=0", None), ("br", None), ("identity", None)):
        answer = await get(app, "/ui/assets/a.js", Accept_Encoding=accepted)
        assert answer.content == SCRIPT
        assert answer.headers.get("Content-Encoding") == encoding
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["Vary"] == "Accept-Encoding"
        check_headers(answer)
    assert (await get(app, "/ui/assets/a.css")).headers["Content-Type"] == "text/css; charset=utf-8"
    icon = await get(app, "/ui/favicon.svg")
    assert (icon.headers["Content-Type"], icon.headers["Cache-Control"]) == ("image/svg+xml", "no-cache")


async def test_an_asset_that_is_gone_is_not_the_page(tmp_path: Path) -> None:
    answer = await get(make_app(tmp_path), "/ui/assets/b.js")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    check_headers(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../outside.txt",
        "/ui/%2e%2e/outside.txt",
        "/ui/..%2foutside.txt",
        "/ui/assets/../../outside.txt",
        "/ui/assets/..%2f..%2foutside.txt",
        "/ui/..\\outside.txt",
        "/ui/%2fetc%2fpasswd",
        "/ui//etc/passwd",
        "/ui/outside.txt%00.js",
        "/ui/../tokens/tests",
    ],
)
async def test_nothing_outside_of_the_folder_is_sent(tmp_path: Path, path: str) -> None:
    app = make_app(tmp_path)
    sent: list[dict[str, object]] = []
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "http_version": "1.1",
        "path": httpx.URL(f"http://a{path.replace('..', '%2e%2e')}").path,
        "query_string": b"",
        "headers": [(b"authorization", BEARER["Authorization"].encode())],
        "client": ("192.0.2.1", 1),
        "server": ("front-end", 80),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]  # plain dictionaries
    body = b"".join(message.get("body", b"") for message in sent)  # type: ignore[misc]  # bytes
    assert sent[0]["status"] in (200, 404)
    assert b"outside" not in body and b"root:" not in body and b"secret" not in body


async def test_without_a_bundle_it_says_how_to_get_one(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "missing"):
        app = make_offline_application(tmp_path, web=folder)
        answer = await get(app, "/ui/runs")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert "<code>make web</code>" in answer.text
        check_headers(answer)
        assert (await get(app, "/me")).status_code == 200


async def test_the_form_has_its_own_stylesheet_and_no_script(tmp_path: Path) -> None:
    app = make_app(tmp_path, root_path="/lmms-eval", namespace="team", token_secret="team-token")
    form = await get(app, "/lmms-eval/ui/login", Authorization="")
    check_headers(form)
    assert '<link rel="stylesheet" href="/lmms-eval/ui/login.css">' in form.text
    assert 'action="/lmms-eval/ui/session"' in form.text
    assert "<script" not in form.text and "style=" not in form.text
    assert "kubectl get secret team-token -n team -o jsonpath=" in form.text
    sheet = await get(app, "/lmms-eval/ui/login.css", Authorization="")
    assert (sheet.status_code, sheet.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    check_headers(sheet)
    icon = await get(app, "/lmms-eval/ui/login.svg", Authorization="")
    assert (icon.status_code, icon.headers["Content-Type"]) == (200, "image/svg+xml")
    check_headers(icon)


async def test_nobody_signs_in_over_plain_http(tmp_path: Path) -> None:
    app = make_offline_application(tmp_path)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://front-end") as browser:
        form = await browser.get("/ui/login")
        assert (form.status_code, "<form" in form.text) == (403, False)
        assert "<code>lmmeval ui</code>" in form.text and "TLS" in form.text
        answer = await browser.post("/ui/session", data={"token": "secret"})
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    ("base", "settings", "headers", "secure"),
    [
        ("http://127.0.0.1:8000", {}, {}, False),
        ("http://localhost", {}, {"Sec-Fetch-Site": "same-origin"}, False),
        ("http://[::1]", {}, {}, False),
        ("http://abc.localhost:8000", {}, {}, False),
        ("https://front-end", {}, {"Sec-Fetch-Site": "same-origin"}, True),
        ("http://front-end", {}, {"X-Forwarded-Proto": "https", "Sec-Fetch-Site": "same-origin"}, True),
        # A proxy ended TLS and did not say so; the browser would not describe a request over plain HTTP.
        ("http://front-end", {}, {"Sec-Fetch-Site": "same-origin"}, True),
        ("http://front-end", {"web_insecure": True}, {}, False),
    ],
)
async def test_one_signs_in_by_tls_on_this_machine_or_where_it_is_allowed(
    tmp_path: Path, base: str, settings: dict[str, Any], headers: dict[str, str], secure: bool
) -> None:
    app = make_offline_application(tmp_path, **settings)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as browser:
        answer = await browser.post("/ui/session", data={"token": "secret"}, headers={"Origin": base})
        assert (answer.status_code, "Secure" in answer.headers["Set-Cookie"]) == (303, secure)
        cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
        assert (await browser.get("/me", headers=cookie)).status_code == 200
        assert (await browser.get("/me", headers=cookie | {"Origin": "http://evil.example"})).status_code in (200, 401)
        if not headers:
            # Who changes something without Sec-Fetch-Site has to name its origin.
            assert (await browser.post("/evaluate", headers=cookie)).status_code == 401
            assert (await browser.post("/evaluate", headers=cookie | {"Origin": base})).status_code == 422


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("front-end.evil.example", 403),
        ("", 403),
        ("[", 403),
        ("localhost", 200),
        ("localhost:8000", 200),
        ("random.localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("10.0.0.7:8000", 200),
        ("front-end", 200),
        ("FRONT-END.team.svc:80", 200),
        ("front-end.team.svc.", 200),
    ],
)
async def test_without_authentication_it_answers_under_its_own_names_alone(
    tmp_path: Path, host: str, status: int
) -> None:
    app = make_offline_application(tmp_path, auth=AuthMode.NONE, hosts=("front-end", "front-end.team.svc"))
    assert (await get(app, "/me", Host=host)).status_code == status
    with_tokens = make_offline_application(tmp_path)
    assert (await get(with_tokens, "/me", Host=host)).status_code == 200


async def test_without_authentication_nobody_signs_in(tmp_path: Path) -> None:
    app = make_offline_application(tmp_path, auth=AuthMode.NONE)
    base = "http://127.0.0.1:8000"
    answer = await get(app, "/ui/login?next=/ui/runs", base)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/runs")
    me = (await get(app, "/me", base)).json()
    assert (me["name"], me["authentication"]) == ("anonymous", "none")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as other:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            assert (await other.post("/evaluate", json={}, headers=headers)).status_code == 403
