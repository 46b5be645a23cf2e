"""Sessions that something happens to: a token is taken away, somebody else signs in, another site would use one."""

import re
import time

import httpx
import pytest
from front_end_fixtures import TOKEN, FrontEnd
from playwright.async_api import Page, expect
from web_fixtures import Reader
from web_jobs import submit

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]

OTHER_TOKEN = "a-token-of-somebody-else"
# A page of another site, and one of this machine: browsers send cookies to every port of a host.
ELSEWHERE = ("http://elsewhere.invalid", "http://127.0.0.1:1")
# A form can send any text; nobody asks the person.
FORGED = """<form method="post" enctype="text/plain" action="{url}/evaluate">
<input name='{{"model": "llava_hf", "tasks": ["mme"], "name": "forged", "user": "' value='"}}'></form>
<form method="post" action="{url}/ui/session/end"></form>"""


def wait_for_status(front_end: FrontEnd, token: str, status: int) -> None:
    """Wait until the front end, which looks at its tokens once a second, answers so."""
    deadline = time.monotonic() + 60
    with front_end.session(token) as session:
        while session.get("/me").status_code != status:
            assert time.monotonic() < deadline
            time.sleep(0.1)


async def test_a_token_that_is_taken_away_ends_its_session(reader: Reader, web_front_end: FrontEnd) -> None:
    submit(web_front_end, "held", hold=True)
    page = reader.page
    await expect(page.get_by_role("link", name="held")).to_be_visible()
    (web_front_end.tokens / "tests").write_text(OTHER_TOKEN)
    wait_for_status(web_front_end, TOKEN, httpx.codes.UNAUTHORIZED)
    await page.get_by_role("button", name="Release held").click()
    await page.locator("input[name=token]").wait_for()
    await expect(page).to_have_url(re.compile(r"/ui/login\?next="))
    await reader.enter_token()
    await expect(page.get_by_text("Nobody is known by this token.")).to_be_visible()
    await reader.enter_token(OTHER_TOKEN)
    await expect(page.get_by_role("button", name="Release held")).to_be_visible()
    reader.forgive("401")


async def test_a_tab_says_so_when_somebody_else_has_signed_in_beside_it(
    reader: Reader, web_front_end: FrontEnd
) -> None:
    (web_front_end.tokens / "other").write_text(OTHER_TOKEN)
    wait_for_status(web_front_end, OTHER_TOKEN, httpx.codes.OK)
    first, account = reader.page, reader.page.locator(".account")
    await expect(account).to_have_text("tests")
    second = await reader.context.new_page()
    reader.watch(second)
    await second.goto(f"{reader.url}/ui/login")
    await second.locator("input[name=token]").fill(OTHER_TOKEN)
    await second.locator("form button[type=submit]").click()
    await expect(second.locator(".account")).to_have_text("other")
    await first.evaluate("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))")
    await expect(account).to_have_text("other")


async def test_pages_of_other_origins_change_nothing(
    reader: Reader, web_front_end: FrontEnd, client: Transport
) -> None:
    submit(web_front_end, "own", hold=True)
    for site in ELSEWHERE:
        for form in (0, 1):
            assert await send_form(await open_elsewhere(reader, site), form) == httpx.codes.FORBIDDEN, (site, form)
    assert [item["metadata"]["name"] for item in (await client.list(EVALUATIONS)).items] == ["own"]
    page = await reader.open()
    await expect(page.get_by_role("link", name="own")).to_be_visible()


async def open_elsewhere(reader: Reader, site: str) -> Page:
    """Open a page of another origin in the same browser."""
    page = await reader.context.new_page()
    html = FORGED.format(url=reader.url)
    await page.route(f"{site}/", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.goto(f"{site}/")
    return page


async def send_form(page: Page, number: int) -> int:
    """Have the page send one of its forms; return the status of the answer."""
    async with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
        await page.evaluate("number => document.forms[number].submit()", number)
    return (await answer.value).status
