"""lmms-eval's own client, unmodified, in front of our server: the base URL is all that changes."""

from types import ModuleType

import httpx
import pytest
from api_fixtures import FrontEnd

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def end(client: Transport, name: str, phase: str, **status: object) -> None:
    """What the operator writes from the start to the end."""
    for fields in ({"phase": "Running", "reason": "Evaluating"}, {"phase": phase, **status}):
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
        await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def test_its_client_submits_waits_and_cancels(front_end: FrontEnd, client: Transport, upstream: ModuleType) -> None:
    with upstream.EvalClient(front_end.url_with_token) as theirs:
        assert theirs.is_healthy()
        good, bad, waiting = (
            theirs.evaluate(model="llava_hf", tasks=["mme"], model_args={"pretrained": "a/b"}, limit=8, device="cuda:0")["job_id"]
            for _ in range(3)
        )
        assert set(theirs.get_queue_status()["queued_jobs"]) == {good, bad, waiting}

        scores = {"mme": {"score,none": {"value": 0.5, "stderr": None}}}
        await end(client, good, "Completed", reason="Succeeded", scores=scores)
        finished = theirs.wait_for_job(good, poll_interval=0.05, timeout=20)
        assert (finished["status"], finished["scores"], finished["request"]["limit"]) == ("completed", scores, 8)

        await end(client, bad, "Failed", reason="TaskNotFound", message="lmms-eval has no task 'nope'.")
        with pytest.raises(RuntimeError, match="Job failed: TaskNotFound: lmms-eval has no task 'nope'."):
            theirs.wait_for_job(bad, poll_interval=0.05, timeout=20)

        with pytest.raises(TimeoutError):
            theirs.wait_for_job(waiting, poll_interval=0.05, timeout=0.2)
        assert theirs.cancel_job(waiting) == {"message": f"Job {waiting} cancelled"}
        assert theirs.get_job(waiting)["status"] == "cancelled"
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            theirs.cancel_job(waiting)


async def test_its_async_client_too(front_end: FrontEnd, client: Transport, upstream: ModuleType) -> None:
    async with upstream.AsyncEvalClient(front_end.url_with_token) as theirs:
        sent = await theirs.evaluate("llava_hf", ["mme"], model_args={"pretrained": "a/b"}, priority=5)
        await end(client, sent["job_id"], "Completed", reason="Succeeded")
        finished = await theirs.wait_for_job(sent["job_id"], poll_interval=0.05, timeout=20)
        assert (finished["status"], finished["request"]["priority"]) == ("completed", 5)


def test_without_the_token_its_client_says_so(front_end: FrontEnd, upstream: ModuleType) -> None:
    with upstream.EvalClient(front_end.url) as theirs:
        assert not theirs.is_healthy()
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            theirs.evaluate(model="llava_hf", tasks=["mme"])
