"""Answers that are older than what the page knows, from a front end or a replica that is behind."""

import asyncio
import re

import pytest
from front_end_fixtures import FrontEnd
from job_states import complete_job, start_job
from playwright.async_api import APIResponse, Route, expect
from web_fixtures import PATIENCE_MS, Reader
from web_jobs import submit

from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


async def test_the_age_of_what_is_shown_is_told_until_it_is_of_now(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "a")
    ages = ["90", "12"]

    async def answer(route: Route) -> None:
        response = await route.fetch()
        headers = response.headers | {"age": ages[0]} if ages else response.headers
        await route.fulfill(response=response, headers=headers)

    await reader.page.route("**/jobs/a", answer)
    page = await reader.open("/runs/a")
    await expect(page.get_by_text("as of 1 min 3")).to_be_visible()
    ages.pop(0)
    await expect(page.get_by_text("as of 1")).to_contain_text(" s ago")
    ages.clear()
    await expect(page.get_by_text("as of")).to_have_count(0)


async def test_an_old_answer_replaces_nothing_that_the_stream_has_told(
    reader: Reader, web_front_end: FrontEnd, client: Transport
) -> None:
    submit(web_front_end, "a")
    await start_job(client, "a")
    page, old, completed, again = reader.page, list[APIResponse](), asyncio.Event(), asyncio.Event()

    async def answer(route: Route) -> None:
        if not old:
            old.append(await route.fetch())
        await route.fulfill(response=old[0])
        if completed.is_set():
            again.set()

    await page.route("**/jobs/a", answer)
    await reader.open("/runs/a")
    await expect(page.get_by_text("Running: evaluating")).to_be_visible()
    await complete_job(client, "a")
    await expect(page.get_by_text(re.compile("^Completed .* ago"))).to_be_visible()
    # It asks for what a completed job has beside its state, and gets the state of before.
    completed.set()
    async with asyncio.timeout(PATIENCE_MS / 1000):
        await again.wait()
    await expect(page.get_by_text("Running: evaluating")).to_have_count(0)
    await expect(page.get_by_role("row", name="mme")).to_contain_text("0.5")
