"""Samples and answers in a browser."""

import re
from typing import Any

import pytest
from front_end_fixtures import FrontEnd
from playwright.async_api import expect
from web_fixtures import Reader
from web_jobs import populate, store_run, write_answers
from web_samples import list_samples

from lmms_eval_core import layout
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.sample_scoring import FAILED_MARK
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


async def test_wrong_samples_are_walked_through_by_keys_and_each_is_a_link(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await populate(web_front_end, client, web_store)
    page = await reader.open("/runs/scored/samples/mme")
    listed = page.get_by_role("navigation", name="Samples", exact=True).get_by_role("link")
    await expect(listed).to_have_count(7)
    await page.keyboard.press("w")
    await expect(listed).to_have_count(4)
    for document in ("0", "2"):
        await page.keyboard.press("j")
        await expect(page.get_by_role("heading", name=f"Sample {document}")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"/samples/mme/2\?filter=wrong$"))
    await page.reload()
    await expect(page.get_by_role("heading", name="Sample 2")).to_be_visible()
    # One view alone is said to be the present one.
    views = page.get_by_role("navigation", name="Which samples").locator("[aria-current]")
    await expect(views).to_have_count(1)
    await expect(views).to_contain_text("wrong")
    await page.keyboard.press("k")
    await expect(page.get_by_role("heading", name="Sample 0")).to_be_visible()
    await expect(page.get_by_role("group", name="Target")).to_have_text("A")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="Sample 0")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("region", name="Metrics")).to_be_visible()


async def test_samples_are_counted_filtered_searched_and_sorted_and_each_view_is_a_link(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await store_run(web_front_end, client, web_store, [make_sample(number) for number in range(300)])
    page = await reader.open("/runs/indexed/samples/mme")
    filters = page.get_by_role("navigation", name="Which samples")
    for name in ("all 300", "wrong 150", "empty 10", "right 150", "failed 3"):
        await expect(filters.get_by_role("link", name=name, exact=True)).to_be_visible()
    await filters.get_by_role("link", name="failed 3", exact=True).click()
    await expect(list_samples(page)).to_have_count(3)
    await expect(filters.locator("[aria-current]")).to_have_text("failed 3")
    await page.keyboard.press("0")
    await page.keyboard.press("/")
    await page.keyboard.type("picture 123")
    await page.keyboard.press("Enter")
    await expect(list_samples(page)).to_have_count(1)
    await list_samples(page).click()
    await expect(page.get_by_role("group", name="Prompt")).to_have_text("What is in picture 123?")
    await expect(page).to_have_url(re.compile(r"/samples/mme/123\?q=picture"))
    await page.reload()
    await expect(page.get_by_role("heading", name="Sample 123")).to_be_visible()
    await expect(page.get_by_text("All 300 searched")).to_be_visible()
    await page.get_by_role("combobox", name="Order").select_option("-length")
    await expect(list_samples(page).first).to_contain_text("299")
    await expect(page).to_have_url(re.compile(r"sort=-length"))


async def test_a_sample_is_found_by_its_link_wherever_it_is(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await store_run(web_front_end, client, web_store, [make_sample(number) for number in range(2000)])
    page = await reader.open("/runs/indexed/samples/mme/1987?filter=wrong")
    await expect(page.get_by_role("group", name="Prompt")).to_have_text("What is in picture 1987?")
    await page.goto(f"{web_front_end.url}/ui/runs/indexed/samples/mme/nope")
    await expect(page.get_by_role("alert")).to_contain_text("has no sample of mme with the doc_id nope")
    reader.forgive("404")


async def test_without_an_index_the_pages_are_read_and_it_is_said(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    prefix = await store_run(web_front_end, client, web_store, [make_sample(number) for number in range(9)])
    await web_store.delete([prefix.file(layout.index_file(layout.sample_file("mme")))])
    page = await reader.open("/runs/indexed/samples/mme")
    await expect(list_samples(page)).to_have_count(9)
    await expect(page.get_by_text("are not indexed")).to_be_visible()
    await page.keyboard.press("w")
    await expect(list_samples(page)).to_have_count(5)
    reader.forgive("404")


def make_sample(number: int) -> dict[str, Any]:
    answer = f"{FAILED_MARK}] no answer" if number % 100 == 50 else "" if number % 30 == 2 else "yes" * (number + 1)
    question = f"What is in picture {number}?"
    return {
        "doc_id": number,
        "input": question,
        "target": "a cat",
        "filtered_resps": answer,
        "score": float(number % 2),
    }


async def test_answers_of_a_run_come_as_it_gives_them_and_are_marked_not_scored(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await populate(web_front_end, client, web_store)
    page = await reader.open("/runs/answers/samples/mme")
    listed = page.get_by_role("navigation", name="Samples", exact=True).get_by_role("link")
    await expect(listed).to_have_count(6)
    await expect(page.get_by_text("not scored").first).to_be_visible()
    await write_answers(client, web_store, "answers", range(6, 9), number=1)
    await expect(listed).to_have_count(9)
    await expect(listed.last).to_contain_text("answer 8")
