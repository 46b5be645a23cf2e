"""Samples and answers in a browser."""

import re

import pytest
from front_end_fixtures import FrontEnd
from playwright.async_api import expect
from web_fixtures import Reader
from web_jobs import populate, write_answers

from lmms_eval_core.kube.transport import Transport
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
    await page.keyboard.press("k")
    await expect(page.get_by_role("heading", name="Sample 0")).to_be_visible()
    await expect(page.get_by_role("group", name="Target")).to_have_text("A")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("heading", name="Sample 0")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("region", name="Metrics")).to_be_visible()


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
