"""A reverse proxy on loopback that adds the token: a browser sees the web page without ever holding the token.

Cookies ignore ports, and other programs of this machine reach the port too. So the page has a host of its own, by a
random name below `localhost`, and answers only to a random cookie, which a browser gets once, for a code.
"""

import secrets
import sys
import threading
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from lmms_eval_client.cli.exits import CliError
from lmms_eval_client.client import Client, forward_request
from lmms_eval_client.errors import LmmsEvalError

COOKIE: Final = "lmmeval_ui"
# What a front end sets to make answers as new as what was written: the only cookie that passes.
VERSION_COOKIE: Final = "lmms_eval_version"
OPEN: Final = "/.lmmeval/open"
HOME: Final = "/ui/"
SIGNING: Final = ("/ui/login", "/ui/session", "/ui/session/end")
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
MAX_FORM_BYTES: Final = 1024
READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FOREIGN_SITES: Final = frozenset({"cross-site", "same-site"})
# Of one connection alone, or about the address that the browser sees.
NOT_SENT: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    }
)
NOT_RETURNED: Final = frozenset(
    {"connection", "keep-alive", "set-cookie", "strict-transport-security", "transfer-encoding", "www-authenticate"}
)
CLOSED: Final = "This page belongs to a run of `lmmeval ui`. Open it by the address that the command prints."
REFUSED: Final = "The front end does not accept the token of `lmmeval ui`. Start it again, with another one."


class LocalProxy(ThreadingHTTPServer):
    """Serves one browser until it is closed."""

    daemon_threads = True
    # A stream is open as long as its page is.
    block_on_close = False

    def __init__(self, client: Client, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ProxyHandler)
        self.client = client
        self.host = f"{secrets.token_hex(8)}.localhost:{self.server_address[1]}"
        self.origin = f"http://{self.host}"
        self.path_prefix = urlsplit(client.base_url).path.rstrip("/")
        self._session = secrets.token_urlsafe(32)
        self._code: str | None = secrets.token_urlsafe(32)
        self._lock = threading.Lock()

    @property
    def code(self) -> str:
        """The code that buys the cookie, once."""
        return self._code or ""

    @property
    def link(self) -> str:
        """The address that opens the page signed in, once."""
        return f"{self.origin}{OPEN}?code={self.code}"

    def buy_session(self, code: str) -> str | None:
        """Return the value of the cookie for the code, the first time; None for any other."""
        with self._lock:
            if self._code is None or not secrets.compare_digest(self._code.encode(), code.encode()):
                return None
            self._code = None
            return self._session

    def is_session(self, value: str) -> bool:
        """Whether the cookie is that of the browser which had the code."""
        return self._code is None and secrets.compare_digest(self._session.encode(), value.encode())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hangs up; else print the traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class ProxyHandler(BaseHTTPRequestHandler):
    """One connection of the browser."""

    protocol_version = "HTTP/1.1"
    server: LocalProxy
    # An idle connection is closed, so that its thread ends.
    timeout = 120

    def handle_any(self) -> None:
        """Answer a request, or pass it on."""
        path = urlsplit(self.path).path
        if self.headers.get_all("Host") != [self.server.host]:
            return self._say(403, CLOSED)
        if path == OPEN:
            return self._open()
        if self._is_foreign_write():
            return self._say(403, "Another site's page has sent this request; it was not carried out.")
        if not self.server.is_session(self._read_cookies().get(COOKIE, "")):
            return self._say(403, CLOSED)
        if path.removeprefix(self.server.path_prefix) in SIGNING:
            return self._say(401, REFUSED)
        self._forward()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: a path says what somebody looks at."""

    def _open(self) -> None:
        """Give the browser its cookie for the code, which is in the form that the command has made or in the link."""
        body = self._read_body(MAX_FORM_BYTES) if self.command == "POST" else urlsplit(self.path).query.encode()
        code = parse_qs((body or b"").decode("latin-1")).get("code", [""])[0]
        session = self.server.buy_session(code)
        if session is None and not self.server.is_session(self._read_cookies().get(COOKIE, "")):
            return self._say(403, CLOSED)
        self.send_response(303)
        if session is not None:
            self.send_header("Set-Cookie", f"{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax")
        self.send_header("Location", f"{self.server.path_prefix}{HOME}")
        self._end_headers({"Content-Length": "0", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    def _is_foreign_write(self) -> bool:
        if self.command in READ_METHODS:
            return False
        sites, origins = self.headers.get_all("Sec-Fetch-Site", []), self.headers.get_all("Origin", [])
        return not FOREIGN_SITES.isdisjoint(sites) or any(origin != self.server.origin for origin in origins)

    def _forward(self) -> None:
        body = self._read_body(MAX_BODY_BYTES)
        if body is None:
            return self._say(413, "The body is too large, or its length is not given.")
        headers = httpx.Headers([(name, text) for name, text in self.headers.items() if name.lower() not in NOT_SENT])
        if version := self._read_cookies().get(VERSION_COOKIE):
            headers["Cookie"] = f"{VERSION_COOKIE}={version}"
        headers.setdefault("Accept-Encoding", "identity")
        path = self.path if self.path.startswith("/") else "/"
        client = self.server.client
        try:
            below = path.removeprefix(self.server.path_prefix)
            with forward_request(client, self.command, below, headers=headers, content=body) as answer:
                self._return(answer)
        except (LmmsEvalError, CliError) as error:
            self._say(502, str(error))

    def _return(self, answer: httpx.Response) -> None:
        """Send the answer on as it arrives. One that breaks off is cut off here too."""
        self.send_response(answer.status_code)
        for name, text in answer.headers.multi_items():
            if name.lower() not in NOT_RETURNED:
                self.send_header(name, self._localise(text) if name.lower() == "location" else text)
        for cookie in answer.headers.get_list("set-cookie"):
            if cookie.startswith(f"{VERSION_COOKIE}="):
                self.send_header("Set-Cookie", cookie)
        has_body = self.command != "HEAD" and answer.status_code not in (204, 304)
        is_chunked = has_body and "content-length" not in answer.headers
        self._end_headers({"Transfer-Encoding": "chunked"} if is_chunked else {})
        if not has_body:
            return
        try:
            self._send_pieces(answer.iter_raw(), is_chunked=is_chunked)
        except (httpx.TransportError, OSError):
            self.close_connection = True

    def _send_pieces(self, pieces: Iterable[bytes], *, is_chunked: bool) -> None:
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked and piece else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _localise(self, location: str) -> str:
        """Return an address of the front end as the browser reaches it."""
        base = urlsplit(self.server.client.base_url)
        own = f"{base.scheme}://{base.netloc}"
        return self.server.origin + location.removeprefix(own) if location.startswith(f"{own}/") else location

    def _read_cookies(self) -> dict[str, str]:
        try:
            cookies: SimpleCookie = SimpleCookie("; ".join(self.headers.get_all("Cookie", [])))
        except CookieError:
            return {}
        return {name: morsel.value for name, morsel in cookies.items()}

    def _read_body(self, most: int) -> bytes | None:
        """Return the body; None for one that is too large or comes without its length."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit() or int(length) > most:
            self.close_connection = True
            return None
        return self.rfile.read(int(length))

    def _say(self, status: int, sentence: str) -> None:
        # What was not read of a request would be taken for the next one.
        self.close_connection = True
        text = sentence.encode()
        self.send_response(status)
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        self._end_headers({**headers, "Connection": "close", "Cache-Control": "no-store"})
        if self.command != "HEAD":
            self.wfile.write(text)

    def _end_headers(self, headers: dict[str, str]) -> None:
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
