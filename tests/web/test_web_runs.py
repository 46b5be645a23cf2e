"""The list of runs in a real browser, over the front end on a real API server."""

import pytest
from front_end_fixtures import FrontEnd
from job_states import complete_job, fail_job, start_job
from playwright.async_api import expect
from web_fixtures import PATIENCE_MS, Reader

from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.web, pytest.mark.timeout(180)]
expect.set_options(timeout=PATIENCE_MS)


def submit(front_end: FrontEnd, name: str, **fields: object) -> str:
    body = {"model": "llava_hf", "tasks": ["mme"], "name": name, "limit": 8, **fields}
    with front_end.session() as session:
        answer = session.post("/evaluate", json=body)
        assert answer.status_code == 200, answer.text
    return name


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
    await expect(now.get_by_text("8 of 32 · 25 % · 16 s left")).to_be_visible()
    await expect(history.get_by_role("listitem").filter(has_text="done")).to_contain_text("mme 0.5")
    await expect(history.get_by_text("lmms-eval has no task 'nope'.")).to_be_visible()
    await start_job(client, "waits")
    await expect(now.get_by_role("link", name="waits")).to_be_visible()
    await expect(queue.get_by_text("Nothing waits.")).to_be_visible()
