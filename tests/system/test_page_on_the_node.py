"""The page of the installed chart in a browser: submit, watch, find a wrong answer, send somebody its link."""

import re

import httpx
import pytest
from playwright.async_api import Page, expect
from release_fixtures import MODEL_ARGS, RUN_SECONDS, TASK, Release, build_slow_environment, build_smoke_evaluation
from web_fixtures import Reader, open_browser
from web_samples import list_samples, wait_for_picture

pytestmark = pytest.mark.system

NAME, LIMIT = "by-page", 6
# Of the node; the page itself takes moments.
PATIENCE_MS = 1000 * RUN_SECONDS


async def test_a_run_is_submitted_watched_and_shown_to_somebody_else(
    release: Release, http: httpx.Client, chromium: str
) -> None:
    # It never starts: what the form has no field for comes from the run that is repeated.
    slow = build_slow_environment(4)
    template = release.apply(build_smoke_evaluation("template", limit=LIMIT, hold=True, env=slow))
    token = release.deployment.token()
    with release.deployment.port_forward(f"{release.deployment.release}-api", 80) as url:
        async with open_browser(chromium, url) as reader, open_browser(chromium, url) as other:
            await reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
            await reader.sign_in(token)
            await submit(reader, template)
            release.cancel(template)
            await watch(reader.page)
            check_scores(http, release)
            link = await copy_link_to_a_wrong_sample(reader)
            await follow(other, link, token)
            other.forgive("401")
            assert not reader.complaints and not other.complaints


async def submit(reader: Reader, template: str) -> None:
    page = await reader.open(f"/submit?from={template}")
    await page.get_by_role("checkbox", name="On hold").uncheck()
    await page.get_by_role("textbox", name="Name", exact=True).fill(NAME)
    await expect(page.get_by_text("The cluster would accept this.")).to_be_visible()
    await page.get_by_role("button", name="Submit").click()
    await expect(page.get_by_role("heading", name=NAME)).to_be_visible()


async def watch(page: Page) -> None:
    """Follow the run from the queue to its samples, without a reload."""
    await expect(page.get_by_text("Running: evaluating")).to_be_visible(timeout=PATIENCE_MS)
    await page.get_by_role("region", name="Answers so far, not scored").get_by_role("link", name=TASK).click()
    await expect(list_samples(page).first).to_be_visible(timeout=PATIENCE_MS)
    await expect(page.get_by_text("not scored").first).to_be_visible()
    await wait_for_picture(list_samples(page).first.locator("img"))
    # When it has ended, they are counted and judged.
    wrong = page.get_by_role("navigation", name="Which samples").get_by_role("link", name=re.compile(r"wrong [1-9]"))
    await expect(wrong).to_be_visible(timeout=PATIENCE_MS)
    await expect(list_samples(page)).to_have_count(LIMIT)


def check_scores(http: httpx.Client, release: Release) -> None:
    """What the page submitted is what was asked for, and its scores are those of the status."""
    info = http.get(f"/jobs/{NAME}").raise_for_status().json()
    assert info["status"] == "completed" and info["scores"] == release.read_status(NAME)["scores"]
    assert info["request"]["model_args"] == MODEL_ARGS and info["request"]["limit"] == LIMIT
    queue = http.get("/queue").json()
    assert NAME not in queue["queued_jobs"] and queue["completed_jobs"] >= 1


async def copy_link_to_a_wrong_sample(reader: Reader) -> str:
    page = reader.page
    await page.keyboard.press("w")
    await expect(page).to_have_url(re.compile(r"filter=wrong"))
    # The list of before stays until the wrong ones are there, and to a key that comes sooner nothing happens.
    await expect(list_samples(page).filter(has_not_text="wrong")).to_have_count(0)
    await expect(list_samples(page).first).to_be_visible()
    await page.keyboard.press("w")
    await expect(page.get_by_role("group", name="Answer", exact=True)).to_be_visible()
    await wait_for_picture(page.locator("article img"))
    await page.keyboard.press("y")
    await expect(page.get_by_text("The link is copied.")).to_be_visible()
    link: str = await page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    return link


async def follow(other: Reader, link: str, token: str) -> None:
    """Somebody else, who has no session, sees the same after signing in."""
    page = other.page
    await page.goto(link)
    await page.locator("input[name=token]").wait_for()
    await other.enter_token(token)
    await expect(page).to_have_url(link)
    await expect(page.get_by_role("heading", name="Sample")).to_be_visible()
    await wait_for_picture(page.locator("article img"))
    await expect(page.get_by_role("navigation", name="Which samples").locator("[aria-current=page]")).to_contain_text(
        "wrong"
    )
