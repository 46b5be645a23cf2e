"""lmms-eval's own clients, as released, against the installed chart on a real node: real evaluations, real failures."""

import asyncio
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from deployment import wait_until
from release_fixtures import MODEL_ARGS, RUN_SECONDS, SMOKE, TASK, Release, build_slow_environment

pytestmark = pytest.mark.system

MODEL = "llava_hf"
# Its sync client has a fixed signature; the async one passes on whatever it is given.
OURS: dict[str, Any] = {"model_args": MODEL_ARGS, "include_path": f"{SMOKE}/tasks", "limit": 4}
PREFIX = "/evaluations"
SHOWN: dict[str, Any] = {"seconds": 60, "what": "the front end"}


@pytest.fixture
def address(release: Release) -> Iterator[str]:
    """The front end as its client takes it: the token is the password."""
    with release.deployment.port_forward(f"{release.deployment.release}-api", 80) as url:
        yield url.replace("://", f"://somebody:{release.deployment.token()}@")


async def submitted(address: str, upstream: ModuleType, **fields: Any) -> str:
    async with upstream.AsyncEvalClient(address) as theirs:
        answer = await theirs.evaluate(MODEL, [TASK], **{**OURS, **fields})
    assert answer["status"] == "queued", answer
    return str(answer["job_id"])


class NamesTheFolder(httpx.HTTPTransport):
    """As a proxy might: adds to submissions where the task is, for which the sync client's signature has no word."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if (request.method, request.url.path) == ("POST", "/evaluate"):
            body = json.loads(request.read()) | {"include_path": OURS["include_path"]}
            headers = {"Authorization": request.headers["Authorization"]}
            request = httpx.Request("POST", request.url, json=body, headers=headers, extensions=request.extensions)
        return super().handle_request(request)


async def test_submit_and_wait(address: str, upstream: ModuleType, release: Release) -> None:
    with upstream.EvalClient(address) as theirs:
        theirs.client = httpx.Client(transport=NamesTheFolder())
        answer = theirs.evaluate(model=MODEL, tasks=[TASK], model_args=MODEL_ARGS, limit=4)
        assert answer["status"] == "queued"
        name = answer["job_id"]
        job = await asyncio.to_thread(theirs.wait_for_job, name, poll_interval=1, timeout=RUN_SECONDS)
    assert (job["status"], job["error"], job["request"]["limit"]) == ("completed", None, 4)
    assert job["scores"] == release.read_status(name)["scores"]
    ((folder, files),) = job["result"].items()
    assert folder == "models__llava"
    assert job["output"]["results"].keys() == {TASK}
    async with httpx.AsyncClient(auth=("somebody", release.deployment.token()), timeout=30) as session:
        assert (await session.get(files["results"])).raise_for_status().json() == job["output"]
        (samples,) = files["samples"]
        assert len((await session.get(samples)).raise_for_status().json()["samples"]) == 4


async def test_a_failure_is_an_error_that_says_why(address: str, upstream: ModuleType) -> None:
    with upstream.EvalClient(address) as theirs:
        name = theirs.evaluate(model=MODEL, tasks=["no_such_task"], model_args=MODEL_ARGS, limit=1, num_gpus=1)[
            "job_id"
        ]
        with pytest.raises(RuntimeError, match="Job failed: TaskNotFound: "):
            await asyncio.to_thread(theirs.wait_for_job, name, poll_interval=1, timeout=RUN_SECONDS)


async def test_a_wait_times_out_and_a_running_job_is_cancelled(
    address: str, upstream: ModuleType, release: Release
) -> None:
    name = await submitted(address, upstream, env=build_slow_environment())
    waiting = await submitted(address, upstream)
    with upstream.EvalClient(address) as theirs:
        await asyncio.to_thread(release.wait_until_evaluating, name)
        # The front end hears of it a moment later.
        await asyncio.to_thread(wait_until, lambda: theirs.get_queue_status()["running_job"] == name, **SHOWN)
        assert waiting in theirs.get_queue_status()["queued_jobs"]
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(theirs.wait_for_job, name, poll_interval=0.5, timeout=2)
        assert theirs.cancel_job(waiting) == {"message": f"Job {waiting} cancelled"}
        assert theirs.cancel_job(name) == {"message": f"Job {name} is being cancelled"}
        await asyncio.to_thread(release.finish, name)
        await asyncio.to_thread(wait_until, lambda: theirs.get_job(name)["status"] == "cancelled", **SHOWN)
        assert theirs.get_job(waiting)["status"] == "cancelled"
        for job in (name, waiting):
            with pytest.raises(httpx.HTTPStatusError, match="400"):
                theirs.cancel_job(job)


async def test_fifty_wait_for_one_evaluation(address: str, upstream: ModuleType) -> None:
    name = await submitted(address, upstream)
    async with upstream.AsyncEvalClient(address) as theirs:
        waiters = (theirs.wait_for_job(name, poll_interval=0.5, timeout=RUN_SECONDS, verbose=False) for _ in range(50))
        ended = await asyncio.gather(*waiters)
    assert {(job["job_id"], job["status"]) for job in ended} == {(name, "completed")}


async def test_below_a_path_prefix(release: Release, upstream: ModuleType) -> None:
    release.deployment.install({**release.values, "api": {"rootPath": PREFIX}})
    try:
        with release.deployment.port_forward(f"{release.deployment.release}-api", 80) as url:
            address = url.replace("://", f"://somebody:{release.deployment.token()}@") + PREFIX
            name = await submitted(address, upstream)
            with upstream.EvalClient(address) as theirs:
                job = await asyncio.to_thread(theirs.wait_for_job, name, poll_interval=1, timeout=RUN_SECONDS)
            assert job["links"]["self"] == f"{url}{PREFIX}/jobs/{name}"
    finally:
        release.deployment.install(release.values)
