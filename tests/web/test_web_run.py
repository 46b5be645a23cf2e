"""One run in a browser: how it stands, its numbers, its log, its files."""

import re

import pytest
from deployment import Kubectl
from front_end_fixtures import FrontEnd
from job_states import complete_job, start_job
from kubelet_fixtures import FakeKubelet, PodLog, create_pod_on_node
from playwright.async_api import expect
from web_fixtures import Reader
from web_jobs import populate, submit, write_answers

from lmms_eval_core import names
from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]


async def test_a_run_is_followed_from_the_queue_to_its_scores(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    submit(web_front_end, "a")
    page = await reader.open("/runs/a")
    await expect(page.get_by_text("Next in the queue")).to_be_visible()
    await start_job(client, "a")
    await expect(page.get_by_text("Running: evaluating")).to_be_visible()
    await expect(page.get_by_text("8 of 32 · 25 %")).to_be_visible()
    # One who is there before the first answer sees it come.
    await page.get_by_role("link", name="mme").click()
    await expect(page.get_by_text("No answer has come yet.")).to_be_visible()
    await write_answers(client, web_store, "a", range(3))
    listed = page.get_by_role("navigation", name="Samples", exact=True).get_by_role("link")
    await expect(listed).to_have_count(3)
    await page.go_back()
    await complete_job(client, "a")
    await expect(page.get_by_text(re.compile("^Completed .* ago"))).to_be_visible()
    await expect(page.get_by_role("row", name="mme")).to_contain_text("0.5")


async def test_an_ended_run_tells_all_that_is_known_of_it(
    reader: Reader, web_front_end: FrontEnd, client: Transport, web_store: ObjectStore
) -> None:
    await populate(web_front_end, client, web_store)
    page = await reader.open("/runs/scored")
    await expect(page.get_by_role("row").filter(has_text="± 0.196")).to_contain_text("[0.304, 0.696]")
    await expect(page.get_by_role("row").filter(has_text="perception")).to_contain_text("no standard error")
    await expect(page.get_by_text("The results are suspect: of 7 answers 4 are empty.")).to_be_visible()
    attempts = page.get_by_role("region", name="Attempts").get_by_role("listitem")
    await expect(attempts.first).to_contain_text("Went on with 12 answers of attempt 1 (exact).")
    await expect(attempts.last).to_contain_text("out of memory")
    await page.get_by_role("link", name="Configuration").click()
    await expect(page.get_by_text("lmmeval submit")).to_contain_text(
        "--model_args pretrained=Qwen/Qwen2.5-VL-7B-Instruct"
    )
    await page.get_by_role("link", name="Log", exact=True).click()
    await expect(page.get_by_role("log")).to_contain_text("line 99")
    await page.get_by_role("link", name="Files").click()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="The results file").click()
    assert (await download.value).suggested_filename == "results.json"


async def test_a_run_that_is_not_there_is_told_in_the_words_of_the_api(reader: Reader) -> None:
    page = await reader.open("/runs/nope")
    await expect(page.get_by_role("alert")).to_contain_text("Job nope not found")
    reader.forgive("404")


async def test_the_log_follows_what_the_run_prints(
    reader: Reader,
    web_front_end: FrontEnd,
    client: Transport,
    kubectl: Kubectl,
    namespace: str,
    fake_kubelet: FakeKubelet,
) -> None:
    submit(web_front_end, "a")
    await start_job(client, "a")
    uid = (await client.get(EVALUATIONS, "a"))["metadata"]["uid"]
    labels = {names.LABEL_EVALUATION_UID: uid, names.LABEL_ATTEMPT: "1"}
    create_pod_on_node(kubectl, namespace, "a-1", fake_kubelet.name, labels)
    printed = fake_kubelet.logs["a-1"] = PodLog()
    printed.write(b"the first line\n")
    page = await reader.open("/runs/a?tab=log")
    log = page.get_by_role("log")
    await expect(log).to_contain_text("the first line")
    printed.write("".join(f"step {number}\n" for number in range(2000)).encode())
    await expect(log).to_contain_text("step 1999")
    assert await log.locator(".log-line").count() < 200
    printed.write(b"the last line\n")
    await expect(log).to_contain_text("the last line")
    # The page leaves before the node does.
    await reader.open("/runs")
