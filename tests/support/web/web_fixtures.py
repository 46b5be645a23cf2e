"""Fixtures for tests of the web page: the built page behind a real front end, and Debian's Chromium before it.

Playwright is driven from Python, in the test's own event loop: what a test does to a job and what a reader then sees
stand in one function, and the fixtures of the front end serve these tests too.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from playwright.async_api import BrowserContext, ConsoleMessage, Page, Request, ViewportSize, async_playwright, expect
from s3_fixtures import S3Server

from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

ROOT: Final = Path(__file__).parents[3]
DIST: Final = ROOT / "web" / "dist"
# Where tests put pictures of pages, for people.
PICTURES: Final = ROOT / "build" / "web-pictures"
# Far longer than a page takes, for a busy machine.
PATIENCE_MS: Final = 60_000
WIDE: Final = ViewportSize(width=1280, height=800)
NARROW: Final = ViewportSize(width=360, height=740)
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Reader:
    """A browser that is signed in at a front end; it records what a page must not do."""

    url: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Record errors of the page, and requests to other origins."""
        page.on("console", self._record_message)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._record_request)
        page.set_default_timeout(PATIENCE_MS)

    def _record_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text} {message.location['url']}")

    def _record_request(self, request: Request) -> None:
        if urlsplit(request.url)[:2] != urlsplit(self.url)[:2]:
            self.complaints.append(f"request to {request.url}")

    async def open(self, path: str = "/runs") -> Page:
        """Open a page below /ui."""
        await self.page.goto(f"{self.url}/ui{path}")
        return self.page

    async def sign_in(self, token: str = TOKEN, path: str = "/runs") -> Page:
        """Sign in by the form; the page that it leads to."""
        await self.page.goto(f"{self.url}/ui/login?next=/ui{path}")
        await self.enter_token(token)
        await self.page.wait_for_url(f"**/ui{path}*")
        return self.page

    async def enter_token(self, token: str = TOKEN) -> None:
        """Fill in the form for signing in, and send it."""
        await self.page.locator("input[name=token]").fill(token)
        await self.page.locator("form button[type=submit]").click()

    def forgive(self, status: str) -> None:
        """Forget that the browser told of answers with this status, which the test has provoked."""
        self.complaints = [told for told in self.complaints if f"status of {status}" not in told]

    async def take_picture(self, name: str) -> None:
        """Put a picture of the page into PICTURES."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The built page."""
    if not (DIST / "index.html").is_file():
        pytest.fail("The web page is not built: run `make web`, or the tests by `make test TIER=web`.", pytrace=False)
    return DIST


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    found = os.environ.get("LMMS_EVAL_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.fail("There is no Chromium: run `make test TIER=web`, which installs Debian's.", pytrace=False)
    return found


@pytest.fixture
def web_front_end(start_front_end: StartFrontEnd, bundle: Path, s3_server: S3Server) -> FrontEnd:
    """A ready front end with the page and a store."""
    running = start_front_end(LMMS_EVAL_API_WEB=str(bundle), **s3_server.environment())
    running.wait_until_ready()
    return running


@pytest.fixture
async def web_store(s3_server: S3Server) -> ObjectStore:
    """The store of that front end."""
    return ObjectStore(StoreSettings.from_environment(s3_server.environment()))


@asynccontextmanager
async def open_browser(chromium: str, url: str, **options: Any) -> AsyncIterator[Reader]:
    """Open a browser of its own; `options` are the context's."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium)
        context = await browser.new_context(**{"viewport": WIDE, "color_scheme": "light", **options})
        reader = Reader(url, context, await context.new_page())
        reader.watch(reader.page)
        yield reader
        await browser.close()


@pytest.fixture
async def reader(web_front_end: FrontEnd, chromium: str) -> AsyncIterator[Reader]:
    """A signed-in reader; the test fails where the page complained or asked another origin."""
    async with open_browser(chromium, web_front_end.url) as opened:
        await opened.sign_in()
        yield opened
    assert not opened.complaints
