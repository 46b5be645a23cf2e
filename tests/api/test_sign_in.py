"""Signing in at /ui/login, and what a session opens: for a page of this front end, and for nobody else."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from offline_application import BEARER, TOKEN, make_offline_application

from lmms_eval_api.auth.sessions import COOKIE_PREFIX, MAX_TOKEN_BYTES, SESSION_SECONDS, SessionSeal

BASE = "https://front-end"
NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FROM_PAGE = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
FORM = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate", "Origin": BASE}


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return make_offline_application(tmp_path)


def open_browser(app: FastAPI, base: str = BASE) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base)


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with open_browser(app) as session:
        yield session


async def sign_in(browser: httpx.AsyncClient, token: str = TOKEN, *, next_path: str = "/ui/runs") -> httpx.Response:
    return await browser.post("/ui/session", data={"token": token, "next": next_path}, headers=FORM)


async def test_who_follows_a_link_signs_in_and_gets_there(browser: httpx.AsyncClient) -> None:
    link = "/ui/runs/a-run?filter=wrong&q=%C3%A4"
    turned_away = await browser.get(link, headers=NAVIGATION | {"Sec-Fetch-Site": "cross-site"})
    assert turned_away.status_code == 303
    form = await browser.get(turned_away.headers["Location"], headers=NAVIGATION)
    assert form.status_code == 200
    field = re.search(r'name="next" value="([^"]*)"', form.text)
    assert field is not None
    let_in = await sign_in(browser, next_path=field[1].replace("&amp;", "&"))
    assert (let_in.status_code, let_in.headers["Location"]) == (303, link)
    assert (await browser.get(link, headers=NAVIGATION)).status_code == 200


async def test_the_page_is_known_by_its_session(browser: httpx.AsyncClient) -> None:
    await sign_in(browser)
    me = (await browser.get("/me", headers=FROM_PAGE)).raise_for_status().json()
    assert (me["name"], me["authentication"]) == ("tests", "session")
    assert me["rights"] == {"read": True, "submit": True, "change": True}
    assert (await browser.get("/me", headers=BEARER)).json()["authentication"] == "token"


async def test_the_cookie_is_the_browsers_alone(browser: httpx.AsyncClient) -> None:
    cookie = (await sign_in(browser)).headers["Set-Cookie"]
    name, _, value = cookie.partition(";")[0].partition("=")
    assert name == "lmms_eval_session"
    assert TOKEN not in cookie
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/", f"Max-Age={SESSION_SECONDS}"} <= set(cookie.split("; "))


async def test_a_wrong_token_gets_the_form_again(browser: httpx.AsyncClient) -> None:
    for token in ("wrong", "", " ", "a" * (MAX_TOKEN_BYTES + 1), "t\u00f6ken", '"><script>'):
        answer = await sign_in(browser, token)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (401, False)
        assert 'role="alert"' in answer.text
        assert '<form method="post" action="/ui/session">' in answer.text
        assert "<script" not in answer.text
        assert 'value="/ui/runs"' in answer.text


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/ui/",
        "//evil.example/ui/",
        "/\t/evil.example/ui/",
        "/\\evil.example/ui/",
        "/ui/\\..\\..\\evil",
        "/ui/\r\nX-A: b",
        "\t//evil.example",
        "javascript:alert(1)//ui/",
        "ui/",
        "/jobs",
        "",
    ],
)
async def test_one_goes_on_to_our_own_pages_alone(browser: httpx.AsyncClient, wanted: str) -> None:
    assert (await sign_in(browser, next_path=wanted)).headers["Location"] == "/ui/"
    form = await browser.get("/ui/login", params={"next": wanted}, headers=NAVIGATION)
    assert 'name="next" value="/ui/"' in form.text


async def test_json_signs_in_as_well(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/ui/session", json={"token": TOKEN, "next": "/ui/submit"}, headers=FROM_PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/submit")
    for body in (b"[]", b"{", b"[" * 20_000, json.dumps({"token": 1}).encode()):
        answer = await browser.post("/ui/session", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (401, 422)
    assert (await browser.post("/ui/session", content=b"a=" * 20_000)).status_code == 413
    assert (await browser.post("/ui/session", content=b"a=1&" * 200)).status_code == 422


@pytest.mark.parametrize("how", ["delete", "form"])
async def test_signing_out_takes_the_cookie_away(browser: httpx.AsyncClient, how: str) -> None:
    await sign_in(browser)
    if how == "delete":
        answer = await browser.delete("/ui/session", headers=FROM_PAGE)
        assert answer.status_code == 204
    else:
        answer = await browser.post("/ui/session/end", headers=FORM)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/ui/login")
    assert (await browser.get("/me", headers=FROM_PAGE)).status_code == 401


async def test_a_session_does_not_speak_for_other_sites(browser: httpx.AsyncClient) -> None:
    await sign_in(browser)
    for path in ("/queue", "/me", "/ui/", "/openapi.json"):
        for headers in (
            {},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
            {"Origin": "https://evil.example"},
        ):
            assert (await browser.get(path, headers=headers)).status_code == 401, (path, headers)
    # A page that runs the scripts of another origin, and what somebody opens outside of /ui/.
    assert (await browser.get("/docs", headers=FROM_PAGE)).status_code == 401
    assert (await browser.get("/queue", headers=NAVIGATION)).status_code == 401


@pytest.mark.parametrize("credential", [{}, BEARER])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_other_sites_change_nothing(browser: httpx.AsyncClient, credential: dict[str, str], site: str) -> None:
    await sign_in(browser)
    headers = credential | {"Sec-Fetch-Site": site}
    for method, path in (
        ("POST", "/evaluate"),
        ("POST", "/merge"),
        ("PATCH", "/jobs/a"),
        ("DELETE", "/jobs/a"),
        ("POST", "/ui/session"),
        ("POST", "/ui/session/end"),
        ("DELETE", "/ui/session"),
        ("BREW", "/nowhere"),
    ):
        answer = await browser.request(method, path, headers=headers)
        assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False), f"{method} {path}"
        answer = await browser.request(method, path, headers=credential | {"Origin": "https://evil.example"})
        assert answer.status_code == 403


async def test_every_route_takes_a_session_like_the_token(app: FastAPI, browser: httpx.AsyncClient) -> None:
    """Without a cluster no write succeeds. What matters is that both callers get as far."""
    await sign_in(browser)
    cookie = {"Cookie": f"{COOKIE_PREFIX}={browser.cookies[COOKIE_PREFIX]}"}
    transport, walked = httpx.ASGITransport(app, raise_app_exceptions=False), 0
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as bare:
        for path, operations in app.openapi()["paths"].items():
            target = re.sub(r"{\w+}", "a", path)
            for method in operations:
                by_token = await bare.request(method, target, headers=BEARER)
                by_session = await bare.request(method, target, headers=cookie | FROM_PAGE)
                assert by_session.status_code == by_token.status_code, f"{method} {target}"
                assert by_session.status_code not in (401, 403), f"{method} {target}"
                foreign = await bare.request(method, target, headers=cookie | {"Sec-Fetch-Site": "cross-site"})
                opened = (200, 503) if path in ("/livez", "/readyz") else (401, 403)
                assert foreign.status_code in opened, f"{method} {target}"
                walked += 1
    assert walked > 20


async def test_a_header_wins_over_the_session(browser: httpx.AsyncClient) -> None:
    await sign_in(browser)
    assert (await browser.get("/me", headers=FROM_PAGE | {"Authorization": "Bearer wrong"})).status_code == 401


async def test_browsers_get_no_dialog(browser: httpx.AsyncClient) -> None:
    def list_schemes(answer: httpx.Response) -> list[str]:
        return [line.split()[0] for line in answer.headers.get_list("WWW-Authenticate")]

    assert list_schemes(await browser.get("/queue", headers=FROM_PAGE)) == ["Bearer"]
    assert list_schemes(await browser.get("/queue")) == ["Bearer", "Basic"]


async def test_a_revoked_token_ends_its_sessions(
    browser: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lmms_eval_api.auth.tokens.CHECK_SECONDS", 0)
    await sign_in(browser)
    assert (await browser.get("/me", headers=FROM_PAGE)).status_code == 200
    (tmp_path / "tests").write_text("another")
    assert (await browser.get("/me", headers=FROM_PAGE)).status_code == 401
    assert (await browser.get("/ui/", headers=NAVIGATION)).status_code == 303


async def test_two_people_on_one_front_end(app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmms_eval_api.auth.tokens.CHECK_SECONDS", 0)
    (tmp_path / "other").write_text("other-token")
    async with open_browser(app) as one, open_browser(app) as two:
        await sign_in(one)
        await sign_in(two, "other-token")
        assert (await one.get("/me", headers=FROM_PAGE)).json()["name"] == "tests"
        assert (await two.get("/me", headers=FROM_PAGE)).json()["name"] == "other"


def test_a_seal_opens_what_it_sealed_for_half_a_day() -> None:
    now = [1000.0]
    seal = SessionSeal([b"k" * 32], name="team-lmms-eval", clock=lambda: now[0])
    text = seal.seal(b"token")
    session = seal.open(text)
    assert session is not None
    assert (session.token, session.expires_at) == (b"token", 1000 + SESSION_SECONDS)
    assert seal.cookie == "lmms_eval_session_team-lmms-eval"
    now[0] += SESSION_SECONDS
    assert seal.open(text) is None


def test_a_seal_opens_nothing_else() -> None:
    seal = SessionSeal([b"k" * 32], name="one")
    text = seal.seal(b"token")
    for position in range(len(text)):
        changed = "A" if text[position] != "A" else "B"
        opened = seal.open(text[:position] + changed + text[position + 1 :])
        # The last digit of a base64 text may hold bits that mean nothing.
        assert opened is None or position >= len(text) - 3
    for other in ("", "token", "=", "ä", "A" * 8, text[:-4], text + "AAAA", f" {text}"):
        assert seal.open(other) is None
    assert SessionSeal([b"k" * 32], name="two").open(text) is None
    assert SessionSeal([b"l" * 32], name="one").open(text) is None


def test_keys_are_replaced_one_by_one() -> None:
    old, new = b"o" * 32, b"n" * 32
    text = SessionSeal([old]).seal(b"token")
    assert SessionSeal([new, old]).open(text) is not None
    assert SessionSeal([new]).open(SessionSeal([new, old]).seal(b"token")) is not None
