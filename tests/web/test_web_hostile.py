"""Texts of runs that are written to be more than text: shown as they are, and nothing is executed or fetched."""

import re

import pytest
import zstandard
from front_end_fixtures import FrontEnd
from job_states import SCORES, complete_with_files, start_job
from playwright.async_api import expect
from web_fixtures import Reader
from web_jobs import store_samples, submit

from lmms_eval_core import layout
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]

MARKUP = '<img src="https://elsewhere.invalid/x" onerror="window.hit=1"><script>window.hit=1</script>'
TEXTS = {
    "markup": MARKUP,
    "link": "[click](javascript:window.hit=1) https://elsewhere.invalid/y",
    "colours": "\x1b[31mred\x1b]8;;https://elsewhere.invalid\x07link",
    "direction": "\u202egnp.exe\u202c",
    "nul": "a\x00b",
}
# A sample of megabytes is none that the front end passes on.
LONG, ENDLESS = "x" * 300_000, "x" * 10_000_000


async def write_files(client: Transport, store: ObjectStore, name: str) -> None:
    """Replace the samples and the log of a completed job by hostile ones."""
    document = await client.get(EVALUATIONS, name)
    prefix = ArtifactPrefix(client.namespace, name, document["metadata"]["uid"], 1)
    samples = [
        {
            "doc_id": key,
            "input": text,
            "target": text,
            "resps": [[text]],
            "filtered_resps": [f"{text} and {text}"],
            "media": [
                {"kind": "image", "display": "https://elsewhere.invalid/z", "thumb": "https://elsewhere.invalid/z"}
            ],
            text: 0.0,
        }
        for key, text in TEXTS.items()
    ]
    samples.append({"doc_id": "long", "input": LONG, "target": LONG, "filtered_resps": [LONG], "score": 0.0})
    samples.append({"doc_id": "endless", "input": "?", "target": "A", "filtered_resps": [ENDLESS], "score": 0.0})
    await store_samples(store, prefix, samples)
    log = "\n".join([ENDLESS, *TEXTS.values(), LONG, "the end", ""]).encode()
    await store.put(prefix.file(layout.LOG_FILE), zstandard.compress(log))


async def test_hostile_samples_are_text(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    submit(web_front_end, "a")
    await complete_with_files(client, web_store, "a")
    await write_files(client, web_store, "a")
    page = await reader.open("/runs/a/samples/mme")
    await expect(page.get_by_role("navigation", name="Samples", exact=True).get_by_role("link")).to_have_count(7)
    shown = {
        "markup": MARKUP,
        "link": TEXTS["link"],
        "colours": "␛[31mred␛]8;;https://elsewhere.invalid␇link",
        "direction": "⟨U+202E⟩gnp.exe⟨U+202C⟩",
        "nul": "a␀b",
    }
    for key, text in shown.items():
        await reader.open(f"/runs/a/samples/mme/{key}")
        answer = page.get_by_role("group", name="Answer", exact=True)
        await expect(answer).to_contain_text(f"{text} and {text}")
        # Also where it is in parts, as the words that differ are marked.
        await expect(answer.get_by_role("insertion").first).to_be_visible()
        assert await page.locator("main img, main script, main iframe").count() == 0
    await reader.open("/runs/a/samples/mme/long")
    await expect(page.get_by_text("characters are left").first).to_be_visible()
    await expect(page.get_by_text("too long or too different")).to_be_visible()
    assert await page.evaluate("document.body.innerText.length") < 200_000
    await reader.open("/runs/a/samples/mme/endless")
    await expect(page.get_by_text(re.compile(r"This sample has 100\d+ bytes"))).to_be_visible()
    assert await page.evaluate("window.hit") is None


async def test_a_hostile_name_of_a_file_is_text(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    submit(web_front_end, "a")
    await complete_with_files(client, web_store, "a")
    document = await client.get(EVALUATIONS, "a")
    prefix = ArtifactPrefix(client.namespace, "a", document["metadata"]["uid"], 1)
    name = '<img src=x onerror="window.hit=1">\u202e.html'
    await web_store.put(f"{prefix.file(layout.TASK_FILES)}{name}.zst", zstandard.compress(MARKUP.encode()))
    listed = {"op": "add", "path": "/status/artifacts/files/-", "value": {"name": layout.task_file(name), "bytes": 1}}
    await client.json_patch(EVALUATIONS, "a", [listed], subresource="status")
    page = await reader.open("/runs/a?tab=files")
    link = page.get_by_role("link", name="<img src=x onerror")
    await expect(link).to_contain_text("⟨U+202E⟩.html")
    assert await page.locator("main img, main script").count() == 0
    # The browser saves it under its name, and shows nothing of it.
    await expect(link).to_have_attribute("download", "")
    assert await page.evaluate("window.hit") is None


async def test_a_hostile_log_is_text(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    submit(web_front_end, "a")
    await complete_with_files(client, web_store, "a")
    await write_files(client, web_store, "a")
    page = await reader.open("/runs/a?tab=log")
    log = page.get_by_role("log")
    await expect(log).to_contain_text("the end")
    for text in (MARKUP, "␛[31mred", "⟨U+202E⟩gnp.exe", "a␀b"):
        await expect(log).to_contain_text(text)
    # Of the endless line, its beginning.
    await expect(log.locator(".log-line").first).to_contain_text("xxx …")
    assert await page.evaluate("document.body.innerText.length") < 200_000
    assert await log.locator("img, script, a").count() == 0
    assert await page.evaluate("window.hit") is None


async def test_hostile_words_of_a_status_are_text(reader: Reader, web_front_end: FrontEnd, client: Transport) -> None:
    submit(web_front_end, "a", model_args={"pretrained": MARKUP})
    message = f"{MARKUP}\u202e" + "y" * 900
    scores = {MARKUP: {f"{MARKUP},none": SCORES["mme"]["score,none"]}}
    await start_job(client, "a", reason="Evaluating", message=message, scores=scores)
    page = reader.page
    for path in ("/runs", "/runs/a", "/runs/a?tab=config"):
        await reader.open(path)
        await expect(page.get_by_text("<img src=").first).to_be_visible()
        assert await page.locator("main img, main script").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert await page.evaluate("window.hit") is None
