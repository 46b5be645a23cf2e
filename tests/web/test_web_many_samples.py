"""Samples by the hundred thousand and the million in a browser: what it holds and asks for does not grow with them."""

import re

import pytest
from front_end_fixtures import FrontEnd
from indexed_samples import IndexedSamples, index_samples, repeat_zone
from playwright.async_api import Page, expect
from web_fixtures import Reader
from web_jobs import TASK, complete_with_samples
from web_samples import list_samples

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.sample_index.format import ZONE_ROWS
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]

MAX_NODES = 1500
# The zones of an index: 131,072 samples, and 1,048,576.
ZONES = {"many": 2, "most": 16}
RECORD_NODES = """() => {
  window.most = 0;
  const count = () => (window.most = Math.max(window.most, document.getElementsByTagName("*").length));
  count();
  new MutationObserver(count).observe(document, { subtree: true, childList: true });
}"""
# Whether this row is in the page; goes towards it.
SCROLL = """place => {
  const box = document.querySelector(".sample-box");
  const row = box?.querySelector(`li[aria-posinset="${place}"]`);
  if (row) return true;
  if (box) box.scrollTop = box.scrollHeight;
  return false;
}"""


def make_sample(number: int) -> dict[str, object]:
    return {
        "doc_id": number,
        "input": f"What is in picture {number}?",
        "target": "a cat",
        "filtered_resps": "a cat" if number % 4 else f"{number} dogs",
        "token_counts": [{"output_tokens": number * 7919 % 1000}],
        "score": float(number % 4 > 0),
    }


@pytest.fixture(scope="module")
def zone() -> IndexedSamples:
    """As many samples as a zone of an index has rows."""
    return index_samples(map(make_sample, range(ZONE_ROWS)), TASK)


async def test_a_page_of_any_number_of_samples_is_small_and_quick(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore, zone: IndexedSamples
) -> None:
    for name, zones in ZONES.items():
        repeated = IndexedSamples(zone.samples, repeat_zone(zone.index, zones))
        await complete_with_samples(web_front_end, client, web_store, name, repeated)
        await walk_through(reader, name, zones * ZONE_ROWS)


async def walk_through(reader: Reader, name: str, rows: int) -> None:
    asked: list[str] = []
    page = reader.page
    page.on("request", lambda request: asked.append(request.url) if "/explore/" in request.url else None)
    await reader.open(f"/runs/{name}/samples/mme")
    await expect(page.get_by_text(f"{rows:,} samples", exact=True)).to_be_visible()
    await expect(list_samples(page).first).to_contain_text("0 dogs")
    assert len(asked) == 1, asked
    await page.evaluate(RECORD_NODES)
    await page.wait_for_function(SCROLL, arg=1000)
    await filter_and_sort(page, rows)
    await page.keyboard.press("j")
    first = page.get_by_role("heading", name="Sample")
    await expect(first).to_be_visible()
    shown = await first.inner_text()
    await page.keyboard.press("j")
    await expect(first).not_to_have_text(shown)
    most = await page.evaluate("window.most")
    assert most <= MAX_NODES, most
    # Its link leads to a sample wherever it is.
    await reader.open(f"/runs/{name}/samples/mme/{ZONE_ROWS - 4}?filter=wrong")
    await expect(page.get_by_role("group", name="Prompt")).to_have_text(f"What is in picture {ZONE_ROWS - 4}?")


async def filter_and_sort(page: Page, rows: int) -> None:
    await page.keyboard.press("w")
    await expect(page.get_by_text(f"{rows // 4:,} samples", exact=True)).to_be_visible()
    await expect(list_samples(page).nth(1)).to_contain_text("4 dogs")
    await page.get_by_role("combobox", name="Order").select_option("-tokens")
    await expect(page).to_have_url(re.compile("sort=-tokens"))
    # Of wrong ones, documents are multiples of four: the one with the most tokens has 996 of them.
    await expect(list_samples(page).first).to_contain_text(f"{LONGEST} dogs")


LONGEST = next(number for number in range(0, ZONE_ROWS, 4) if number * 7919 % 1000 == 996)
