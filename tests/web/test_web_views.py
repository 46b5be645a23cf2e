"""List or grid, one sample with the words that differ, and the ways between samples, in a browser."""

import re
from typing import Any

import pytest
from front_end_fixtures import FrontEnd
from playwright.async_api import Locator, Page, expect
from web_fixtures import Reader
from web_jobs import store_run
from web_samples import list_samples

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]

SAMPLES = 2000


def make_sample(number: int) -> dict[str, Any]:
    """Build a sample; the even ones are wrong."""
    return {
        "doc_id": number,
        "input": f"What is in picture {number}?",
        "target": "a small red cat",
        "resps": [[f"It is a small grey cat and a dog ({number})."]],
        "filtered_resps": "a small grey cat and a dog" if number % 2 == 0 else "a small red cat",
        "score": float(number % 2),
    }


@pytest.fixture
async def stored(web_front_end: FrontEnd, client: Transport, web_store: ObjectStore) -> FrontEnd:
    """A front end with a completed run `indexed` of SAMPLES samples."""
    await store_run(web_front_end, client, web_store, map(make_sample, range(SAMPLES)))
    return web_front_end


def heading(page: Page, document: object) -> Locator:
    return page.get_by_role("heading", name=re.compile(rf"Sample {document}$"))


async def arrive(page: Page, document: object) -> None:
    """Wait until a sample is shown, and its neighbours are known."""
    await expect(heading(page, document)).to_be_visible()
    await expect(page.get_by_role("button", name="Previous")).to_be_enabled()


async def walk(page: Page, key: str, *documents: int) -> None:
    """Press a key again and again: it leads to these samples. A key does nothing while its sample is not known yet."""
    way = page.get_by_role("button", name={"j": "Next", "k": "Previous"}[key], exact=True)
    for document in documents:
        if await page.locator("article").count():
            await expect(way).to_be_enabled()
        await page.keyboard.press(key)
        await expect(heading(page, document)).to_be_visible()


async def test_one_goes_on_from_a_link_however_far_down_its_list_it_is(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/1800?filter=wrong")
    chosen = list_samples(page).and_(page.locator("[aria-current]"))
    await expect(chosen).to_contain_text("1800")
    # The first one of its page: those before it are loaded too.
    await walk(page, "k", 1798, 1796)
    await walk(page, "j", 1798, 1800, 1802)
    await expect(chosen).to_contain_text("1802")
    await expect(chosen).to_be_in_viewport()
    place = chosen.locator("..")
    await expect(place).to_have_attribute("aria-posinset", "902")
    await expect(place).to_have_attribute("aria-setsize", "1000")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="To the first").click()
    await expect(list_samples(page).first).to_contain_text("0")
    await walk(page, "j", 0)


async def test_one_goes_on_from_the_last_one_and_in_an_order(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/1999")
    await arrive(page, 1999)
    await expect(list_samples(page).last).to_contain_text("1999")
    await walk(page, "k", 1998)
    # By score, the wrong ones come first, then the right ones, in their order.
    await reader.open("/runs/indexed/samples/mme/1001?sort=score")
    await arrive(page, 1001)
    await walk(page, "j", 1003)
    await walk(page, "k", 1001, 999)


async def test_one_goes_on_from_a_sample_that_the_list_leaves_out(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/1501?filter=wrong")
    await arrive(page, 1501)
    await walk(page, "j", 1502)
    await page.go_back()
    await arrive(page, 1501)
    await walk(page, "k", 1500)


async def test_a_search_is_followed_to_the_sample_of_a_link(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/1598?q=picture+15")
    await arrive(page, 1598)
    await walk(page, "k", 1597)
    await walk(page, "j", 1598, 1599)


async def test_the_grid_is_a_link_and_stays_one(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme")
    await page.get_by_role("navigation", name="Layout").get_by_role("link", name="grid").click()
    await expect(page).to_have_url(re.compile(r"\?view=grid$"))
    await expect(page.locator(".sample-box.grid")).to_be_visible()
    first, second = [await list_samples(page).nth(number).bounding_box() for number in (0, 1)]
    assert first is not None and second is not None
    assert first["y"] == second["y"] and first["x"] < second["x"]
    await page.keyboard.press("w")
    await expect(page).to_have_url(re.compile(r"filter=wrong&view=grid|view=grid&filter=wrong"))
    await expect(list_samples(page).nth(1)).to_have_attribute("href", re.compile(r"/mme/2\?"))
    await walk(page, "j", 0, 2)
    await page.reload()
    await expect(heading(page, 2)).to_be_visible()
    await expect(page.locator(".sample-box.grid")).to_be_visible()
    assert await page.evaluate("document.querySelectorAll('*').length") <= 1500
    await page.get_by_role("navigation", name="Layout").get_by_role("link", name="list").click()
    await expect(page).to_have_url(re.compile(r"\?filter=wrong$"))
    await expect(page.locator(".sample-box.grid")).to_have_count(0)


async def test_the_words_that_differ_are_marked_until_one_does_not_want_it(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/2")
    target, answer = [page.get_by_role("group", name=name, exact=True) for name in ("Target", "Answer")]
    await expect(target.get_by_role("deletion")).to_have_text(["red"])
    await expect(answer.get_by_role("insertion")).to_have_text(["grey", "and a dog"])
    await expect(page.get_by_role("group", name="Answer before lmms-eval's filters")).to_contain_text("(2).")
    await expect(page.get_by_text("Answer of 26 characters")).to_be_visible()
    await page.keyboard.press("d")
    await expect(answer.get_by_role("insertion")).to_have_count(0)
    await expect(answer).to_have_text("a small grey cat and a dog")
    await page.reload()
    await expect(answer).to_be_visible()
    await expect(answer.get_by_role("insertion")).to_have_count(0)
    await page.get_by_label("Mark the words that differ").check()
    await expect(answer.get_by_role("insertion")).to_have_count(2)
    await walk(page, "j", 3)
    await expect(page.get_by_text("All words are the same.")).to_be_visible()
    await page.go_back()
    await walk(page, "k", 1)


async def test_single_letters_can_be_switched_off(reader: Reader, stored: FrontEnd) -> None:
    page = await reader.open("/runs/indexed/samples/mme/2")
    await expect(heading(page, 2)).to_be_visible()
    await page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    for does in ("Next sample", "Mark the words that differ, or do not", "Copy the link to what is shown"):
        await expect(keys.get_by_text(does)).to_be_visible()
    await keys.get_by_label("Single letters are keys").uncheck()
    await page.keyboard.press("Escape")
    await expect(keys).to_have_count(0)
    await page.keyboard.press("d")
    await page.keyboard.press("j")
    await page.keyboard.press("?")
    await page.keyboard.press("Escape")
    # What came before is done by now: nothing of it happened.
    await expect(page).to_have_url(re.compile(r"/samples/mme$"))
    assert await page.get_by_role("dialog").count() == 0
