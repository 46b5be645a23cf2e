"""`lmmeval ui`: the page behind a proxy on loopback, which one browser opens once and nobody else."""

import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from command_fixtures import CommandLine
from front_end_fixtures import TOKEN, FrontEnd
from plain_http import NO_TLS
from provided import build_bare_environment

from lmms_eval_client.cli import ui
from lmms_eval_client.cli.local_proxy import COOKIE, OPEN, LocalProxy
from lmms_eval_client.client import Client

Answer = Callable[[httpx.Request], httpx.Response]


class Upstream:
    """The front end behind the proxy: records what it gets."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answer: Answer = lambda request: httpx.Response(200, stream=httpx.ByteStream(request.url.raw_path))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(params=["", "/prefix"])
def proxy(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[LocalProxy]:
    base = f"https://front-end.example.com{request.param}"
    with Client(base, token="secret", transport=httpx.MockTransport(upstream)) as client, LocalProxy(client) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.fixture
def browser(proxy: LocalProxy) -> Iterator[httpx.Client]:
    """A browser, which resolves the random name to loopback."""
    with open_browser(proxy) as session:
        yield session


def open_browser(proxy: LocalProxy) -> httpx.Client:
    address = f"http://127.0.0.1:{proxy.server_address[1]}"
    return httpx.Client(base_url=address, headers={"Host": proxy.host}, timeout=20, trust_env=False, verify=NO_TLS)


def sign_in(browser: httpx.Client, proxy: LocalProxy) -> httpx.Response:
    """Open the page as the file does, which has no origin."""
    return browser.post(OPEN, data={"code": proxy.code}, headers={"Origin": "null", "Sec-Fetch-Site": "cross-site"})


def test_a_code_opens_the_page_once(browser: httpx.Client, proxy: LocalProxy, upstream: Upstream) -> None:
    link, code = proxy.link, proxy.code
    assert browser.get("/ui/").status_code == 403
    opened = sign_in(browser, proxy)
    assert (opened.status_code, opened.headers["Location"]) == (303, f"{proxy.path_prefix}/ui/")
    assert {"HttpOnly", "SameSite=Lax"} <= set(opened.headers["Set-Cookie"].split("; "))
    page = browser.get(f"{proxy.path_prefix}/ui/runs?q=a%2Fb")
    assert page.text == f"{proxy.path_prefix}/ui/runs?q=a%2Fb"
    assert upstream.requests[-1].headers["Authorization"] == "Bearer secret"
    assert "secret" not in str(opened.headers) + str(page.headers)
    # The browser that has it may follow the link again; another one gets nothing for it.
    assert browser.get(link.removeprefix(proxy.origin)).status_code == 303
    with open_browser(proxy) as other:
        assert other.post(OPEN, data={"code": code}).status_code == 403
        assert other.get(link.removeprefix(proxy.origin)).status_code == 403
        assert other.get("/ui/", headers={"Cookie": f"{COOKIE}=wrong"}).status_code == 403
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("code", ["", "wrong", "\u00e4"])
def test_a_wrong_code_opens_nothing(browser: httpx.Client, proxy: LocalProxy, code: str) -> None:
    assert browser.post(OPEN, data={"code": code}).status_code == 403
    assert browser.get(OPEN, params={"code": code}).status_code == 403
    assert sign_in(browser, proxy).status_code == 303


def test_other_names_and_other_sites_get_nothing(browser: httpx.Client, proxy: LocalProxy, upstream: Upstream) -> None:
    sign_in(browser, proxy)
    port = proxy.server_address[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "evil.example", proxy.host.partition(":")[0]):
        assert browser.get("/ui/", headers={"Host": host}).status_code == 403
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://localhost:{port}"},
        {"Origin": "null"},
    ):
        assert browser.post("/evaluate", json={}, headers=headers).status_code == 403
    assert upstream.requests == []


def test_what_passes_is_the_request_and_not_the_browser(
    browser: httpx.Client, proxy: LocalProxy, upstream: Upstream
) -> None:
    sign_in(browser, proxy)
    upstream.answer = lambda request: httpx.Response(
        201,
        headers=[
            ("Set-Cookie", "lmms_eval_version=7; HttpOnly"),
            ("Set-Cookie", "lmms_eval_session=stolen"),
            ("Strict-Transport-Security", "max-age=1"),
            ("Location", f"{proxy.client.base_url}/jobs/a"),
            ("Content-Security-Policy", "default-src 'none'"),
        ],
        stream=httpx.ByteStream(b"made"),
    )
    answer = browser.post(
        f"{proxy.path_prefix}/evaluate",
        content=b"{}",
        headers={
            "Origin": proxy.origin,
            "Referer": f"{proxy.origin}/ui/",
            "Sec-Fetch-Site": "same-origin",
            "X-Forwarded-For": "192.0.2.1",
            "Authorization": "Bearer other",
            "Last-Event-ID": "5",
            "Cookie": f"{COOKIE}={browser.cookies[COOKIE]}; lmms_eval_version=6; other=1",
        },
    )
    got = upstream.requests[-1].headers
    assert (got["Authorization"], got["Cookie"], got["Last-Event-ID"]) == ("Bearer secret", "lmms_eval_version=6", "5")
    assert got["Host"] == "front-end.example.com" and got["Sec-Fetch-Site"] == "same-origin"
    assert not {"origin", "referer", "x-forwarded-for"} & set(got)
    assert (answer.status_code, answer.content) == (201, b"made")
    assert answer.headers["Location"] == f"{proxy.origin}{proxy.path_prefix}/jobs/a"
    assert answer.headers.get_list("Set-Cookie") == ["lmms_eval_version=7; HttpOnly"]
    assert "Strict-Transport-Security" not in answer.headers
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"


class Endless(httpx.SyncByteStream):
    """A stream of events that goes on when it is told to, and breaks off in the end."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield b"event: ready\n\n"
        assert self.goes_on.wait(20)
        yield b"event: job\n\n"
        raise httpx.ReadError("gone")


def test_streams_arrive_as_they_are_sent_and_break_off_alike(
    browser: httpx.Client, proxy: LocalProxy, upstream: Upstream
) -> None:
    sign_in(browser, proxy)
    endless = Endless()
    upstream.answer = lambda request: httpx.Response(200, stream=endless)
    with browser.stream("GET", "/events") as stream:
        pieces = stream.iter_raw()
        assert next(pieces) == b"event: ready\n\n"
        endless.goes_on.set()
        assert next(pieces) == b"event: job\n\n"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_bodies_are_bounded_and_a_dead_front_end_is_told(
    browser: httpx.Client, proxy: LocalProxy, upstream: Upstream
) -> None:
    sign_in(browser, proxy)
    assert browser.post("/evaluate", content=b" " * (5 * 1024 * 1024)).status_code == 413
    assert browser.post("/evaluate", content=iter([b"chunked"])).status_code == 413
    assert browser.head("/ui/").status_code == 200

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    upstream.answer = fail
    assert browser.get("/queue").status_code == 502
    assert browser.get(f"{proxy.path_prefix}/ui/login").status_code == 401


def test_the_browser_is_given_a_file_of_its_owner_alone(proxy: LocalProxy) -> None:
    with ui._write_opening(proxy) as page:
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        text = page.read_text()
    assert not page.exists()
    assert f'action="{proxy.origin}{OPEN}"' in text and proxy.code in text


@pytest.mark.integration
def test_the_command_shows_a_real_front_end(front_end: FrontEnd, tmp_path: Path) -> None:
    environment = build_bare_environment() | {"LMMS_EVAL_URL": front_end.url, "LMMS_EVAL_TOKEN": TOKEN}
    running = CommandLine(environment).start("ui", "--no-browser")
    try:
        assert running.stdout is not None
        link = urlsplit(running.stdout.readline().strip())
        assert re.fullmatch(r"[0-9a-f]{16}\.localhost:\d+", link.netloc)
        address, headers = f"http://127.0.0.1:{link.port}", {"Host": link.netloc}
        with httpx.Client(base_url=address, headers=headers, trust_env=False, verify=NO_TLS, timeout=30) as browser:
            assert browser.get("/me").status_code == 403
            assert browser.get(OPEN, params={"code": parse_qs(link.query)["code"][0]}).status_code == 303
            assert browser.get("/me", headers={"Sec-Fetch-Site": "same-origin"}).json()["name"] == "tests"
            assert "Content-Security-Policy" in browser.get("/ui/").headers
            request = {"model": "llava_hf", "tasks": ["mme"]}
            own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{link.netloc}"}
            assert browser.post("/evaluate", json=request, headers=own).status_code == 200
            assert browser.post("/evaluate", json=request, headers={"Origin": "http://evil.example"}).status_code == 403
    finally:
        running.terminate()
        running.communicate(timeout=30)
