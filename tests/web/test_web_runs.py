"""The list of runs in a browser."""

import asyncio
import re
from contextlib import suppress

import pytest
from front_end_fixtures import FrontEnd
from job_states import complete_job, fail_job, start_job
from playwright.async_api import Error, Page, Route, expect
from web_fixtures import Reader
from web_jobs import populate, submit

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

# A second stream in the page; `window.told` is there when it has told of the job `meanwhile`.
LISTEN = """() => new Promise((ready) => {
  const stream = new EventSource("/events");
  window.told = new Promise((told) => {
    stream.addEventListener("job", (event) => JSON.parse(event.data).job_id === "meanwhile" && told(stream.close()));
  });
  stream.addEventListener("ready", () => ready());
})"""
pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


async def test_runs_are_listed_by_what_they_do_and_follow_it(
    reader: Reader, web_front_end: FrontEnd, client: Transport
) -> None:
    for name in ("waits", "runs", "done", "failed"):
        submit(web_front_end, name)
    await start_job(client, "runs")
    await complete_job(client, "done")
    await fail_job(client, "failed")
    page = reader.page
    now, queue, history = (page.get_by_role("region", name=name) for name in ("Now", "Queue", "History"))
    await expect(queue.get_by_role("link", name="waits")).to_be_visible()
    # The others run for a moment too, before they end.
    runs = now.get_by_role("listitem").filter(has=page.get_by_role("link", name="runs"))
    await expect(runs.get_by_text("8 of 32 · 25 % · 16 s left")).to_be_visible()
    await expect(history.get_by_role("listitem").filter(has_text="done")).to_contain_text("mme 0.5")
    await expect(history.get_by_text("lmms-eval has no task 'nope'.")).to_be_visible()
    await start_job(client, "waits")
    await expect(now.get_by_role("link", name="waits")).to_be_visible()
    await expect(queue.get_by_text("Nothing waits.")).to_be_visible()
    document = await client.get(EVALUATIONS, "done")
    await client.delete(EVALUATIONS, "done", uid=document["metadata"]["uid"])
    await expect(history.get_by_role("link", name="done")).to_have_count(0)


async def test_an_ended_run_shows_its_score_with_its_interval_and_whether_it_is_suspect(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await populate(web_front_end, client, web_store)
    row = reader.page.get_by_role("listitem").filter(has=reader.page.get_by_role("link", name="scored", exact=True))
    await expect(row).to_contain_text("mme 0.5 ± 0.196")
    await expect(row).to_contain_text("suspect")


async def test_the_queue_is_changed_by_hand(reader: Reader, web_front_end: FrontEnd) -> None:
    for name in ("first", "second"):
        submit(web_front_end, name)
    page = reader.page
    rows = page.get_by_role("region", name="Queue").get_by_role("listitem")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("first")
    priority = page.get_by_role("spinbutton", name="Priority of second")
    await priority.fill("7")
    await priority.press("Enter")
    await expect(rows.first).to_contain_text("second")
    await page.get_by_role("button", name="Hold second").click()
    await expect(page.get_by_role("button", name="Release second")).to_be_visible()
    await expect(rows.first).to_contain_text("first")
    await page.get_by_role("button", name="Cancel first").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
    history = page.get_by_role("region", name="History")
    await expect(history.get_by_role("listitem").filter(has_text="first")).to_contain_text("cancelled")


async def test_filters_are_in_the_address_and_a_link_has_them(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "seven", labels={"run": "7"})
    submit(web_front_end, "eight", tasks=["mmmu_val"])
    page = reader.page
    await expect(page.get_by_role("link", name="seven")).to_be_visible()
    await page.get_by_role("searchbox", name="Label").fill("run=7")
    await page.get_by_role("searchbox", name="Label").press("Enter")
    await expect(page.get_by_role("link", name="eight")).to_have_count(0)
    await page.get_by_role("checkbox", name="queued").check()
    await expect(page.get_by_role("region", name="History")).to_have_count(0)
    await expect(page).to_have_url(re.compile(r"status=.*queued"))
    await page.reload()
    await expect(page.get_by_role("link", name="seven")).to_be_visible()
    await expect(page.get_by_role("link", name="eight")).to_have_count(0)
    await expect(page.get_by_role("searchbox", name="Label")).to_have_value("run=7")
    submit(web_front_end, "also", labels={"run": "7"})
    await expect(page.get_by_role("link", name="also")).to_be_visible()


async def test_a_list_that_arrives_late_takes_nothing_back(reader: Reader, web_front_end: FrontEnd) -> None:
    asked, arrive = asyncio.Semaphore(0), asyncio.Event()

    async def hold(route: Route) -> None:
        # The page may give up the request meanwhile.
        with suppress(Error):
            answer = await route.fetch()
            asked.release()
            await arrive.wait()
            await route.fulfill(response=answer)

    await reader.page.route("**/jobs?*", hold)
    page = await reader.open()
    async with asyncio.timeout(60):
        for _section in range(3):
            await asked.acquire()
    await page.evaluate(LISTEN)
    submit(web_front_end, "meanwhile")
    await page.evaluate("window.told")
    arrive.set()
    await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()


async def test_what_the_api_refuses_is_said_in_its_words_and_not_kept(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "a")
    priority = reader.page.get_by_role("spinbutton", name="Priority of a")
    await priority.fill("101")
    await priority.press("Enter")
    await expect(reader.page.get_by_role("status").filter(has_text="less than or equal to 100")).to_be_visible()
    await expect(priority).to_have_value("0")
    reader.forgive("422")


async def test_without_a_session_a_link_leads_over_the_sign_in_page(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "linked")
    page = reader.page
    await reader.context.clear_cookies()
    await reader.open("/runs/linked?tab=config")
    await page.locator("input[name=token]").wait_for()
    await reader.enter_token()
    await expect(page.get_by_role("heading", name="linked")).to_be_visible()
    await expect(page).to_have_url(f"{reader.url}/ui/runs/linked?tab=config")
    await page.get_by_role("button", name="Sign out").click()
    await page.locator("input[name=token]").wait_for()
    reader.forgive("401")


async def test_a_hidden_tab_holds_no_stream_and_catches_up_when_it_is_seen(
    reader: Reader, web_front_end: FrontEnd
) -> None:
    page = reader.page
    await expect(page.get_by_text("live", exact=True)).to_be_visible()
    await set_hidden(page, True)
    await expect(page.get_by_text("paused", exact=True)).to_be_visible()
    submit(web_front_end, "meanwhile")
    await set_hidden(page, False)
    await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()


async def set_hidden(page: Page, hidden: bool) -> None:
    """Hide or show the tab, as far as the page can tell."""
    await page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_what_was_read_stays_while_the_front_end_is_away(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "before")
    page = reader.page
    await expect(page.get_by_role("link", name="before")).to_be_visible()
    web_front_end.stop()
    await expect(page.get_by_text("connecting …")).to_be_visible()
    await page.get_by_role("searchbox", name="Task").fill("mme")
    await page.get_by_role("searchbox", name="Task").press("Enter")
    await expect(page.get_by_text("The front end does not answer.").first).to_be_visible()
    reader.complaints.clear()
