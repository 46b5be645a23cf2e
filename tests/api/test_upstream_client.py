"""lmms-eval's own client, unmodified, in front of our server: the base URL is all that changes."""

import asyncio
from types import ModuleType

import httpx
import pytest
from front_end_fixtures import FrontEnd, StartFrontEnd

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def end(client: Transport, name: str, phase: str, **status: object) -> None:
    """What the operator writes from the start to the end."""
    for fields in ({"phase": "Running", "reason": "Evaluating"}, {"phase": phase, **status}):
        patch = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in fields.items()]
        await client.json_patch(EVALUATIONS, name, patch, subresource="status")


async def test_its_client_submits_waits_and_cancels(
    front_end: FrontEnd, client: Transport, upstream: ModuleType
) -> None:
    with upstream.EvalClient(front_end.url_with_token) as theirs:
        assert theirs.is_healthy()
        good, bad, waiting = (
            theirs.evaluate(
                model="llava_hf", tasks=["mme"], model_args={"pretrained": "a/b"}, limit=8, device="cuda:0"
            )["job_id"]
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


async def test_fifty_wait_at_once(front_end: FrontEnd, client: Transport, upstream: ModuleType) -> None:
    async with upstream.AsyncEvalClient(front_end.url_with_token) as theirs:
        sent = await asyncio.gather(*(theirs.evaluate("llava_hf", ["mme"], priority=number) for number in range(50)))
        names = [answer["job_id"] for answer in sent]
        assert (await theirs.get_queue_status())["queued_jobs"] == names[::-1]
        waiting = asyncio.gather(
            *(theirs.wait_for_job(name, poll_interval=0.5, timeout=60, verbose=False) for name in names),
            return_exceptions=True,
        )
        for number, name in enumerate(names):
            await end(client, name, "Failed" if number % 10 == 0 else "Completed", reason="Succeeded")
        ended = await waiting
    assert [number for number, result in enumerate(ended) if isinstance(result, RuntimeError)] == list(range(0, 50, 10))
    assert [result["job_id"] for result in ended if isinstance(result, dict)] == [
        name for n, name in enumerate(names) if n % 10
    ]


async def test_its_client_waits_for_ever_on_a_cancelled_job_as_it_does_with_its_own_server(
    front_end: FrontEnd, upstream: ModuleType
) -> None:
    async with upstream.AsyncEvalClient(front_end.url_with_token) as theirs:
        name = (await theirs.evaluate("llava_hf", ["mme"]))["job_id"]
        await theirs.cancel_job(name)
        with pytest.raises(TimeoutError):
            await theirs.wait_for_job(name, poll_interval=0.05, timeout=0.3, verbose=False)


def test_its_client_below_a_path_prefix(start_front_end: StartFrontEnd, upstream: ModuleType) -> None:
    front_end = start_front_end(LMMS_EVAL_API_ROOT_PATH="/evaluations")
    front_end.wait_until_ready()
    for prefix in ("/evaluations", "/evaluations/"):
        with upstream.EvalClient(front_end.url_with_token + prefix) as theirs:
            assert theirs.is_healthy()
            name = theirs.evaluate(model="llava_hf", tasks=["mme"])["job_id"]
            assert theirs.get_job(name)["links"]["self"] == f"{front_end.url}/evaluations/jobs/{name}"
            assert theirs.cancel_job(name) == {"message": f"Job {name} cancelled"}


def test_its_client_lists_tasks_and_models(front_end: FrontEnd, upstream: ModuleType) -> None:
    """Nobody has listed any here; tests/api/test_catalogue_reader.py and the system tests have a list."""
    with upstream.EvalClient(front_end.url_with_token) as theirs:
        assert (theirs.list_tasks(), theirs.list_models()) == ([], [])


def test_its_client_shows_why_no_checkpoint_is_merged(front_end: FrontEnd, upstream: ModuleType) -> None:
    with upstream.EvalClient(front_end.url_with_token) as theirs, pytest.raises(httpx.HTTPStatusError, match="501"):
        theirs.merge_checkpoint("/checkpoints/1")


async def test_its_client_reads_what_it_wrote_on_whichever_replica(
    start_front_end: StartFrontEnd, upstream: ModuleType
) -> None:
    """Cookies are kept by its HTTP client; nothing else is needed of it."""
    replicas = start_front_end(), start_front_end()
    for each in replicas:
        each.wait_until_ready()
    with upstream.EvalClient(replicas[0].url_with_token) as theirs:
        name = theirs.evaluate(model="llava_hf", tasks=["mme"])["job_id"]
        theirs.base_url = replicas[1].url_with_token
        assert theirs.cancel_job(name) and theirs.get_queue_status()["queue_size"] == 0
        theirs.base_url = replicas[0].url_with_token
        assert theirs.get_job(name)["status"] == "cancelled"
