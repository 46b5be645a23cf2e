"""Runs that are compared in a browser: picked, in a table, and by the samples that changed."""

import re
from typing import Any

import pytest
from axe import find_violations
from front_end_fixtures import FrontEnd
from playwright.async_api import Locator, Page, Route, expect
from web_fixtures import NARROW, WIDE, Reader, open_browser
from web_jobs import store_compared
from web_media import make_picture
from web_samples import list_samples

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(300)]

DOCUMENTS = 300
# Of `main` 200 are right. `ckpt` loses 40 of these, and wins 5 of the others.
LOST, WRONG = 40, 200
MARKUP = '<img src=x onerror="window.hit=1">\u202e'


def make_sample(number: int, *, right: bool, **fields: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "input": f"What is in picture {number}?",
        "target": "a small red cat",
        "filtered_resps": "a small red cat" if right else "a small grey dog",
        "score": float(right),
        **fields,
    }


def make_main(**fields: Any) -> list[dict[str, Any]]:
    return [make_sample(number, right=number < WRONG, **fields) for number in range(DOCUMENTS)]


@pytest.fixture
async def stored(web_front_end: FrontEnd, client: Transport, web_store: ObjectStore) -> FrontEnd:
    """A front end with four runs: `again` is `main` once more, `ckpt` is worse, and `other` has another version."""
    made = web_front_end, client, web_store
    changed = [make_sample(number, right=LOST <= number < WRONG + 5) for number in range(DOCUMENTS)]
    again = make_main()
    again[0] |= {"filtered_resps": MARKUP, "score": 0.0}
    await store_compared(*made, "main", make_main())
    await store_compared(*made, "again", again)
    await store_compared(*made, "ckpt", changed, model_args={"pretrained": MARKUP})
    await store_compared(*made, "other", make_main(), version=2, seed=7)
    return web_front_end


def find_row(page: Page, run: str) -> Locator:
    return page.get_by_role("region", name="Metrics of mme").get_by_role("row").filter(has_text=run)


async def walk(page: Page, key: str, *documents: int) -> None:
    for document in documents:
        await page.keyboard.press(key)
        await expect(page.get_by_role("heading", name=f"Sample {document}", exact=True)).to_be_visible()


async def test_runs_are_picked_and_compared_by_keys(reader: Reader, stored: FrontEnd) -> None:
    page, keys = await reader.open("/runs"), reader.page.keyboard
    link = page.get_by_role("link", name="main", exact=True)
    await link.focus()
    await keys.press("x")
    bar = page.get_by_role("region", name="Picked runs")
    await expect(bar).to_contain_text("Pick another one")
    await page.get_by_label("Compare: ckpt").check()
    await expect(page).to_have_url(re.compile(r"/runs\?pick=main(,|%2C)ckpt$"))
    await page.reload()
    await expect(bar.get_by_role("link", name="Compare 2 runs")).to_be_visible()
    await keys.press("c")
    await expect(page).to_have_url(re.compile(r"/compare\?runs=main(,|%2C)ckpt$"))

    worse = find_row(page, "ckpt")
    await expect(worse).to_contain_text("worse")
    await expect(worse).to_contain_text("−0.1167")
    await expect(worse).to_contain_text("< 0.001")
    await expect(page.get_by_text("300 documents paired")).to_be_visible()
    # What a run wrote is text, in the findings too.
    assert await page.locator("main img").count() == 0
    await page.get_by_role("link", name="ckpt", exact=True).focus()
    await keys.press("b")
    await expect(page).to_have_url(re.compile(r"base=ckpt$"))
    await expect(find_row(page, "main")).to_contain_text("better")
    await expect(find_row(page, "main")).to_contain_text("+0.1167")
    await page.reload()
    await expect(find_row(page, "main")).to_contain_text("better")
    await page.get_by_role("button", name="Remove: ckpt").click()
    await expect(page.get_by_text("Pick two to five completed runs")).to_be_visible()
    assert await page.evaluate("window.hit") is None


async def test_noise_what_cannot_be_compared_and_what_a_rerun_changes_are_told(
    reader: Reader, stored: FrontEnd
) -> None:
    page = await reader.open("/compare?runs=main,again,other&base=main")
    await expect(find_row(page, "again")).to_contain_text("within noise")
    await expect(find_row(page, "other")).to_contain_text("not comparable")
    await expect(page.get_by_text("The task has version 1 in main and 2 in other.")).to_be_visible()
    await expect(page.get_by_text("The runs differ in seed")).to_be_visible()
    reruns = page.get_by_role("region", name="What a rerun changes")
    await expect(reruns).to_contain_text("again against main, mme: 1 of 300 documents got another score")
    # A run that does not exist is said, and can be removed.
    await reader.open("/compare?runs=main,nobody")
    await expect(page.get_by_role("alert")).to_contain_text("nobody")
    await expect(page.get_by_role("button", name="Remove: nobody")).to_be_visible()
    reader.forgive("404")


async def test_the_samples_that_changed_are_filters_and_stand_side_by_side(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/compare?runs=main,ckpt")
    await find_row(page, "ckpt").get_by_role("link", name="40 lost").click()
    await expect(list_samples(page).first).to_be_visible()
    await walk(page, "j", 0, 1)
    await walk(page, "k", 0)
    main, ckpt = [page.get_by_role("group", name=f"Answer of {run}", exact=True) for run in ("main", "ckpt")]
    await expect(main.get_by_role("deletion")).to_have_text(["red cat"])
    await expect(ckpt.get_by_role("insertion")).to_have_text(["grey dog"])
    await expect(page.get_by_role("group", name="Prompt", exact=True)).to_have_text("What is in picture 0?")
    await page.keyboard.press("d")
    await expect(ckpt.get_by_role("insertion")).to_have_count(0)
    # The address is the view.
    await page.reload()
    await expect(ckpt).to_have_text("a small grey dog")
    await page.keyboard.press("2")
    await expect(page).to_have_url(re.compile("flip=won"))
    await expect(list_samples(page)).to_have_count(5)
    await walk(page, "j", 200, 201)
    await page.keyboard.press("3")
    await expect(page.get_by_text("95 samples")).to_be_visible()
    await page.keyboard.press("?")
    for does in ("Next sample", "Samples: lost", "Samples: both wrong"):
        await expect(page.get_by_role("dialog").get_by_text(does)).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="Compare")).to_be_visible()


async def test_hostile_answers_are_text_side_by_side(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/compare/mme/0?runs=main,again,ckpt&flip=lost&against=again")
    await expect(page.get_by_role("group", name="Answer of again")).to_contain_text("<img src=x onerror")
    await expect(page.get_by_role("group", name="Answer of again")).to_contain_text("⟨U+202E⟩")
    await expect(page.get_by_role("group", name="Answer of ckpt")).to_contain_text("grey dog")
    assert await page.locator("main img").count() == 0
    assert await page.evaluate("window.hit") is None


async def test_media_stand_once_where_the_runs_got_the_same(reader: Reader, stored: FrontEnd) -> None:
    page, digests = reader.page, {"main": "a" * 64, "again": "a" * 64}

    async def answer(route: Route) -> None:
        response = await route.fetch()
        found, run = await response.json(), route.request.url.split("/jobs/")[1].split("/")[0]
        media = {"kind": "image", "display": digests[run], "thumb": digests[run], "width": 64, "height": 48}
        found["card"]["media"] = [media]
        await route.fulfill(response=response, json=found)

    async def send(route: Route) -> None:
        await route.fulfill(body=make_picture(64, 48), content_type="image/png")

    await page.route("**/jobs/*/samples/mme/*", answer)
    await page.route("**/jobs/*/media/*", send)
    await reader.open("/compare/mme/0?runs=main,again&flip=lost")
    figures = page.get_by_role("figure")
    await expect(page.get_by_role("group", name="Answer of again")).to_be_visible()
    await expect(figures).to_have_count(1)
    digests["again"] = "b" * 64
    await page.reload()
    await expect(page.get_by_text("The runs did not get the same media")).to_be_visible()
    await expect(figures).to_have_count(2)


# Each page, and a text that stands in it when all is there.
PAGES = {
    "compare": ("/compare?runs=main,again,ckpt,other", "What a rerun changes"),
    "picked": ("/runs?pick=main,ckpt", "Compare 2 runs"),
    "flips": ("/compare/mme?runs=main,ckpt,again&flip=lost", "40 samples"),
    "flip": ("/compare/mme/3?runs=main,ckpt,again&flip=lost", "Mark the words that differ"),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_on_a_comparison(stored: FrontEnd, chromium: str, theme: Any) -> None:
    found: dict[str, list[str]] = {}
    async with open_browser(chromium, stored.url, color_scheme=theme) as reader:
        await reader.sign_in()
        for name, (path, text) in PAGES.items():
            for size, viewport in (("1280", WIDE), ("360", NARROW)):
                await reader.page.set_viewport_size(viewport)
                page = await reader.open(path)
                await expect(page.get_by_text(text).first).to_be_attached()
                await expect(page.locator(".skeleton")).to_have_count(0)
                await reader.take_picture(f"{name}-{size}-{theme}")
                violations = await find_violations(page)
                width = await page.evaluate("document.documentElement.scrollWidth")
                if width > viewport["width"]:
                    violations.append(f"wider than the window: {width}")
                if violations:
                    found[f"{name} {size}"] = violations
        assert not reader.complaints
    assert not found, "\n".join(f"{place}: {one}" for place, ones in found.items() for one in ones)
