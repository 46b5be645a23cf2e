"""Everybody can use the page: axe finds nothing in both themes, keys alone do, and 360 pixels are wide enough."""

from collections.abc import AsyncIterator

import pytest
from axe import find_violations
from front_end_fixtures import FrontEnd
from playwright.async_api import Page, expect
from web_fixtures import NARROW, WIDE, Reader, open_browser
from web_jobs import populate

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(300)]

# Each page, and a text that stands in it when all is there.
PAGES = {
    "runs": ("/runs", "lmms-eval has no task 'nope'."),
    "run": ("/runs/scored", "Went on with 12 answers"),
    "running": ("/runs/answers", "8 of 32"),
    "failed": ("/runs/failed", "lmms-eval has no task 'nope'."),
    "log": ("/runs/scored?tab=log", "line 99"),
    "configuration": ("/runs/scored?tab=config", "lmmeval submit"),
    "files": ("/runs/scored?tab=files", "The results file"),
    "samples": ("/runs/scored/samples/mme?filter=wrong", "4 samples"),
    "grid": ("/runs/scored/samples/mme?view=grid", "7 samples"),
    "sample": ("/runs/scored/samples/mme/2", "Sample 2"),
    "answers": ("/runs/answers/samples/mme/3", "answer 3"),
    "answers-grid": ("/runs/answers/samples/mme?view=grid", "6 answers"),
    "submit": ("/submit?from=scored", "The cluster would accept this."),
    "missing": ("/nowhere", "There is no such page"),
}


@pytest.fixture
async def populated(web_front_end: FrontEnd, client: Transport, web_store: ObjectStore) -> FrontEnd:
    await populate(web_front_end, client, web_store)
    return web_front_end


@pytest.fixture(params=["light", "dark"])
async def themed(request: pytest.FixtureRequest, populated: FrontEnd, chromium: str) -> AsyncIterator[Reader]:
    async with open_browser(chromium, populated.url, color_scheme=request.param) as opened:
        await opened.sign_in()
        yield opened
    assert not opened.complaints


async def show(reader: Reader, path: str, text: str) -> Page:
    page = await reader.open(path)
    await expect(page.get_by_text(text).first).to_be_visible()
    await expect(page.locator(".skeleton")).to_have_count(0)
    return page


async def test_axe_finds_nothing_and_no_page_is_wider_than_a_phone(
    themed: Reader, request: pytest.FixtureRequest
) -> None:
    theme = request.node.callspec.params["themed"]
    found: dict[str, list[str]] = {}
    for name, (path, text) in PAGES.items():
        for size, viewport in (("1280", WIDE), ("360", NARROW)):
            await themed.page.set_viewport_size(viewport)
            page = await show(themed, path, text)
            await themed.take_picture(f"{name}-{size}-{theme}")
            violations = await find_violations(page)
            width = await page.evaluate("document.documentElement.scrollWidth")
            if width > viewport["width"]:
                violations.append(f"wider than the window: {width}")
            if violations:
                found[f"{name} {size}"] = violations
    assert not found, "\n".join(f"{place}: {one}" for place, ones in found.items() for one in ones)


async def test_dialogs_and_the_sign_in_page_pass_too(themed: Reader) -> None:
    page = await show(themed, *PAGES["runs"])
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert not await find_violations(page)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Cancel next").click()
    assert not await find_violations(page)
    await page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    await show(themed, *PAGES["answers"])
    await page.keyboard.press("m")
    await expect(page.get_by_role("dialog", name="Media of sample 3")).to_be_visible()
    await themed.take_picture("enlarged")
    assert not await find_violations(page)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Sign out").click()
    await page.locator("input[name=token]").wait_for()
    assert not await find_violations(page)
    themed.forgive("401")


async def test_keys_alone_submit_watch_find_a_wrong_sample_and_copy_its_link(
    reader: Reader, populated: FrontEnd, client: Transport
) -> None:
    await reader.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, keys = await show(reader, *PAGES["runs"]), reader.page.keyboard
    await keys.press("g")
    await keys.press("s")
    model = page.get_by_role("combobox", name="Model")
    await model.wait_for()
    await tab_to(page, "Model")
    await keys.type("llava_hf")
    await tab_to(page, "Tasks")
    await keys.type("mme")
    await keys.press("Enter")
    await tab_to(page, "Name")
    await keys.type("by-keys")
    await expect(page.get_by_text("The cluster would accept this.")).to_be_visible()
    await tab_to(page, "Submit", role="button")
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="by-keys")).to_be_visible()
    assert (await client.get(EVALUATIONS, "by-keys"))["spec"]["tasks"] == ["mme"]

    await keys.press("Escape")
    scored = page.get_by_role("link", name="scored", exact=True)
    await scored.wait_for()
    for _ in range(30):
        await keys.press("j")
        if await scored.evaluate("link => link === document.activeElement"):
            break
    await keys.press("Enter")
    await tab_to(page, "wrong ones of mme", role="link")
    await keys.press("Enter")
    await page.get_by_text("4 samples").wait_for()
    await keys.press("j")
    await keys.press("j")
    await expect(page.get_by_role("heading", name="Sample 2")).to_be_visible()
    await keys.press("y")
    await expect(page.get_by_text("The link is copied.")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{reader.url}/ui/runs/scored/samples/mme/2?filter=wrong"


async def tab_to(page: Page, name: str, role: str = "") -> None:
    """Press Tab until the element of this name has the focus."""
    choice = page.get_by_role(role, name=name, exact=True) if role else page.get_by_label(name, exact=True)  # type: ignore[arg-type]  # roles are literals
    for _ in range(60):
        if await choice.first.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {name}")
