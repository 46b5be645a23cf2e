"""The web page in Chromium, before a real front end over a real S3 server: when it shows something, and how soon it
answers a key among a hundred thousand samples and a million.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import deployment
from deployment import ROOT, Kubectl
from playwright.async_api import Page

from bench import index_memory
from bench.browser import SAMPLE, MeasuredBrowser, list_answer_times, open_browser, time_to_paint
from bench.distant_server import DistantServer
from bench.front_end import servers
from bench.population import build_queued, create_completed, open_namespace
from bench.rows import Row, percentile
from bench.s3_server import BUCKET, PORT, run_s3_server
from bench.samples import LARGE, SMALL, build
from bench.scale import start_own_cluster
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.layout import ArtifactPrefix

NAMESPACE: Final = "bench-page"
RELAY_PORT: Final = 18995
TASK: Final = index_memory.TASK
LISTED, ROUNDS, STEPS, SCROLLS = 50, 5, 40, 200
SLOWED: Final = 4.0
ORDERS: Final = tuple(f"{sign}{name}" for name in ("acc", "tokens", "length") for sign in ("", "-"))
FILTERS: Final = ("wrong", "right", "truncated")
PAINT_SECONDS, ROWS_SECONDS, SCREEN_SECONDS = 1.0, 1.5, 1.0
ACTION_MS, SERVER_MS, TASK_MS = 100.0, 50.0, 50.0
NODES, READS, SCREEN_KB = 1500.0, 4.0, 256.0
SHOWN: Final = ".sample h2"
DISTANCE_SECONDS: Final = 0.05
# Two pages of the list at once.
SCROLL_PX: Final = 1200
AFTER_SCROLL: Final = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
  done(document.getElementsByTagName("*").length))))"""


def measure() -> list[Row]:
    """The rows of this part."""
    deployment.program("web", "build")
    deployment.program("web", "browser")
    with start_own_cluster() as kubectl, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = {size: folder / str(size) for size in (SMALL, LARGE)}
        for size, place in built.items():
            build(place, size)
        with run_s3_server(folder / "s3") as store:
            return asyncio.run(_measure(kubectl, store, folder / "s3" / BUCKET, built))


async def _measure(kubectl: Kubectl, store: Mapping[str, str], bucket: Path, built: Mapping[int, Path]) -> list[Row]:
    settings = {**store, "LMMS_EVAL_API_WEB": str(ROOT / "web" / "dist"), "LMMS_EVAL_API_SWEEP": "false"}
    async with open_namespace(kubectl, NAMESPACE) as client:
        for size, place in built.items():
            for number in range(ROUNDS):
                await _store_run(client, bucket, place, _name(size, number))
        for number in range(LISTED):
            await client.create(EVALUATIONS, build_queued(f"waits-{number}"))
        async with _open(kubectl, settings) as browser:
            near = [
                *await _measure_loads(browser),
                *await _measure_actions(browser),
                *await _measure_scrolling(browser),
            ]
        distant = DistantServer(PORT, delay=DISTANCE_SECONDS)
        settings["LMMS_EVAL_STORE_ENDPOINT"] = f"http://127.0.0.1:{RELAY_PORT}"
        async with distant.relay(RELAY_PORT), _open(kubectl, settings) as browser:
            return [*near, *await _measure_screens(browser, distant)]


@asynccontextmanager
async def _open(kubectl: Kubectl, settings: Mapping[str, str]) -> AsyncIterator[MeasuredBrowser]:
    """A browser before a front end of its own."""
    with servers.ours(kubeconfig=kubectl.kubeconfig, namespace=NAMESPACE, **settings) as server:
        async with open_browser(server) as browser:
            yield browser


def _name(size: int, number: int) -> str:
    return f"run-{size}-{number}"


def _path(size: int, number: int) -> str:
    return f"/runs/{_name(size, number)}/samples/{TASK}"


async def _store_run(client: transport.Transport, bucket: Path, built: Path, name: str) -> None:
    """A completed run with the samples that were built, and their index: none has read it yet."""
    uid = await create_completed(client, name, task=TASK)
    prefix = ArtifactPrefix(NAMESPACE, name, uid, 1)
    source, target = built / "store" / index_memory.PREFIX.path, bucket / prefix.path
    shutil.copytree(source, target, copy_function=os.link)


async def _measure_loads(browser: MeasuredBrowser) -> list[Row]:
    """The first load of a page, by a reader who has nothing of it yet."""
    runs, listed = [], []
    for number in range(ROUNDS):
        async with browser.open(slowed=SLOWED) as page:
            runs.append(await browser.load(page, "/runs", "[data-row]"))
        async with browser.open(slowed=SLOWED) as page:
            listed.append(await browser.load(page, _path(SMALL, number)))
    name = f"page, processor slowed {SLOWED:.0f} times"
    return [
        Row(f"{name}: runs, first content", max(load.paint for load in runs), "s", PAINT_SECONDS),
        Row(f"{name}: runs, rows", max(load.rows for load in runs), "s", ROWS_SECONDS),
        Row(f"{name}: {SMALL:,} samples, first content", max(load.paint for load in listed), "s", PAINT_SECONDS),
        Row(f"{name}: {SMALL:,} samples, rows", max(load.rows for load in listed), "s", ROWS_SECONDS),
    ]


async def _measure_actions(browser: MeasuredBrowser) -> list[Row]:
    """What a reader does among many samples, each time for the first time."""
    filters: list[float] = []
    orders: list[float] = []
    steps: list[float] = []
    lists: list[float] = []
    single: list[float] = []
    for number in range(ROUNDS):
        async with browser.open() as page:
            await browser.load(page, _path(SMALL, number))
            for order in ORDERS:
                orders.append(await _choose_order(page, order))
                filters += [await _choose_filter(page, name) for name in FILTERS]
            lists += await list_answer_times(page, "/explore/")
            steps += [await _step(page) for _ in range(STEPS)]
            single += await list_answer_times(page, f"/samples/{TASK}/")
    name = f"page, {SMALL:,} samples"
    return [
        Row(f"{name}: filter to paint, 95 %", percentile(filters, 0.95), "ms", ACTION_MS),
        Row(f"{name}: order to paint, 95 %", percentile(orders, 0.95), "ms", ACTION_MS),
        Row(f"{name}: next sample to paint, 95 %", percentile(steps, 0.95), "ms", ACTION_MS),
        Row(f"{name}: the front end's lists of these, 95 %", percentile(lists, 0.95), "ms", SERVER_MS),
        Row(f"{name}: the front end's samples of these, 95 %", percentile(single, 0.95), "ms", SERVER_MS),
    ]


async def _choose_order(page: Page, order: str) -> float:
    choice = page.get_by_role("combobox", name="Order")
    return await time_to_paint(page, lambda: choice.select_option(order), event="change", selector=SAMPLE)


async def _choose_filter(page: Page, name: str) -> float:
    link = page.get_by_role("navigation", name="Which samples").get_by_role("link", name=name)
    return await time_to_paint(page, link.click, event="click", selector=SAMPLE)


async def _step(page: Page) -> float:
    return await time_to_paint(page, lambda: page.keyboard.press("j"), event="keydown", selector=SHOWN)


async def _measure_scrolling(browser: MeasuredBrowser) -> list[Row]:
    async with browser.open() as page:
        await browser.load(page, _path(SMALL, 0))
        await page.locator(SAMPLE).first.hover()
        await page.evaluate("bench.tasks = []")
        nodes = 0
        for _ in range(SCROLLS):
            await page.mouse.wheel(0, SCROLL_PX)
            nodes = max(nodes, await page.evaluate(AFTER_SCROLL))
        tasks: list[float] = await page.evaluate("bench.tasks")
        place = await page.locator(SAMPLE).last.get_attribute("aria-posinset")
    name = f"page, {SMALL:,} samples, scrolled"
    return [
        Row(f"{name}: longest task, if over {TASK_MS:.0f} ms", max(tasks, default=0), "ms", TASK_MS, f"to row {place}"),
        Row(f"{name}: elements in the page", nodes, "", NODES),
    ]


async def _measure_screens(browser: MeasuredBrowser, distant: DistantServer) -> list[Row]:
    """The first screen of a run that nobody has looked at, with a store that is far away."""
    seconds, reads, sizes = [], [], []
    for number in range(ROUNDS):
        before, answered = distant.requests, distant.answered
        async with browser.open() as page:
            seconds.append((await browser.load(page, _path(LARGE, number))).rows)
        reads.append(distant.requests - before)
        sizes.append((distant.answered - answered) / 1000)
    name = f"page, {LARGE:,} samples, store at {1000 * DISTANCE_SECONDS:.0f} ms"
    return [
        Row(f"{name}: first screen", max(seconds), "s", SCREEN_SECONDS),
        Row(f"{name}: reads of it", max(reads), "", READS),
        Row(f"{name}: bytes of it", max(sizes), "kB", SCREEN_KB),
    ]
