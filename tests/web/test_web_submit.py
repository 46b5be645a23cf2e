"""Submitting in a browser."""

import json

import pytest
from front_end_fixtures import FrontEnd
from playwright.async_api import Page, expect
from web_fixtures import Reader
from web_jobs import submit

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


async def fill(page: Page, **fields: str) -> None:
    for label, text in fields.items():
        await page.get_by_role("textbox", name=label.replace("_", " "), exact=True).fill(text)


async def test_a_request_is_checked_as_it_is_typed_and_then_submitted(
    reader: Reader, web_front_end: FrontEnd, client: Transport
) -> None:
    page = await reader.open("/submit")
    await page.get_by_role("combobox", name="Model").fill("llava_hf")
    await fill(page, Arguments_of_the_model="pretrained=a/b")
    tasks = page.get_by_role("combobox", name="Tasks")
    await tasks.fill("mme")
    await tasks.press("Enter")
    await expect(page.get_by_text("The cluster would accept this.")).to_be_visible()
    await fill(page, Limit="-8")
    limit = page.get_by_role("textbox", name="Limit")
    await expect(limit).to_have_attribute("aria-invalid", "true")
    await expect(page.locator(".field.refused")).to_contain_text("greater than 0")
    await fill(page, Limit="8", Name="typed", Labels="run=7")
    await expect(limit).to_have_attribute("aria-invalid", "false")
    command = (
        "lmmeval submit --model llava_hf --model_args pretrained=a/b --tasks mme --limit 8 --name typed --label run=7"
    )
    shown = await page.locator(".command code").inner_text()
    assert shown.replace(" \\\n  ", " ") == command
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", name="typed")).to_be_visible()
    document = await client.get(EVALUATIONS, "typed")
    assert document["spec"]["modelArgs"] == {"pretrained": "a/b"} and document["spec"]["limit"] == 8
    reader.forgive("422")


async def test_a_run_is_repeated_with_all_that_it_asked_for(
    reader: Reader, web_front_end: FrontEnd, client: Transport
) -> None:
    volumes = [{"claim_name": "data", "mount_path": "/data"}]
    submit(web_front_end, "before", model_args={"pretrained": "a/b"}, volumes=volumes, num_gpus=0)
    page = await reader.open("/submit?from=before")
    await expect(page.get_by_text("The cluster would accept this.")).to_be_visible()
    await page.get_by_role("textbox", name="Name").fill("again")
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", name="again")).to_be_visible()
    before, again = [(await client.get(EVALUATIONS, name))["spec"] for name in ("before", "again")]
    assert json.dumps(before, sort_keys=True) == json.dumps(again, sort_keys=True)
