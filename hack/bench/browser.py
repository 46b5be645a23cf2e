"""Chromium before a front end, and how long it takes until a page shows something."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

from deployment import CommandFailed
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from bench.front_end.servers import BenchServer

WIDE: Final = ViewportSize(width=1280, height=800)
SAMPLE: Final = ".sample-list li"
PATIENCE_MS: Final = 60_000
# `bench.painted(isThere)` tells when what it looks for has been painted, on the clock of the page's events.
SCRIPT: Final = """
window.bench = {
  tasks: [],
  painted(isThere) {
    return new Promise((done) => {
      const paint = () => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => done(performance.now());
        port2.postMessage(null);
      });
      if (isThere()) return paint();
      const observer = new MutationObserver(() => {
        if (!isThere()) return;
        observer.disconnect();
        paint();
      });
      observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    });
  },
};
new PerformanceObserver((list) => bench.tasks.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: "longtask", buffered: true });
"""
LOADED: Final = "bench.loaded = bench.painted(() => document.querySelector({selector!r}));"
# What is shown is another one where it has been made anew, or says something else.
ARM: Final = """([type, selector]) => {
  const find = () => document.querySelector(selector);
  const [before, text] = [find(), find()?.parentElement.innerText];
  let began;
  document.addEventListener(type, (event) => { began = event.timeStamp; }, { capture: true, once: true });
  const isOther = (now) => now !== null && (now !== before || now.parentElement.innerText !== text);
  bench.done = bench.painted(() => began !== undefined && isOther(find())).then((end) => end - began);
}"""
ANSWERS: Final = """part => performance.getEntriesByType("resource").filter(({ name }) => name.includes(part))
  .map(({ requestStart, responseEnd }) => responseEnd - requestStart)"""


class Loaded(NamedTuple):
    """Seconds from the start of a navigation to the first content and to the first row."""

    paint: float
    rows: float


class MeasuredBrowser:
    """A browser whose contexts are signed in and have nothing in their caches."""

    def __init__(self, browser: Browser, url: str, state: Any) -> None:
        self._browser = browser
        self._url = url
        self._state = state

    @contextlib.asynccontextmanager
    async def open(self, *, slowed: float = 1.0) -> AsyncIterator[Page]:
        """An empty page of a new context; `slowed` says how often slower its processor is."""
        context = await self._browser.new_context(storage_state=self._state, viewport=WIDE)
        await context.add_init_script(SCRIPT)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        session = await context.new_cdp_session(page)
        await session.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        try:
            yield page
        finally:
            await context.close()

    async def load(self, page: Page, path: str, selector: str = SAMPLE) -> Loaded:
        """Load a page; return when it showed its first content, and the first element of the selector."""
        await page.add_init_script(LOADED.format(selector=selector))
        await page.goto(f"{self._url}/ui{path}", wait_until="commit")
        rows = await page.evaluate("bench.loaded")
        paint = await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return Loaded(paint / 1000, rows / 1000)


@contextlib.asynccontextmanager
async def open_browser(server: BenchServer) -> AsyncIterator[MeasuredBrowser]:
    """A browser that is signed in with the server's token."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        raise CommandFailed("there is no Chromium; run: python3 hack/web browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        try:
            page = await browser.new_page()
            await page.goto(f"{server.url}/ui/login?next=/ui/runs")
            await page.locator("input[name=token]").fill(server.headers["Authorization"].removeprefix("Bearer "))
            await page.locator("form button[type=submit]").click()
            await page.wait_for_url("**/ui/runs")
            state = await page.context.storage_state()
            await page.context.close()
            yield MeasuredBrowser(browser, server.url, state)
        finally:
            await browser.close()


async def time_to_paint(page: Page, act: Callable[[], Awaitable[Any]], *, event: str, selector: str) -> float:
    """Milliseconds from the event that `act` causes until another element, or other text in it, has been painted."""
    await page.evaluate(ARM, [event, selector])
    await act()
    took: float = await page.evaluate("bench.done")
    return took


async def list_answer_times(page: Page, part: str) -> list[float]:
    """Milliseconds that the front end took for each request with `part` in its address."""
    found: list[float] = await page.evaluate(ANSWERS, part)
    return found
