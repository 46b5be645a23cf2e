"""The client against the front end on a real API server."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import httpx
import pytest
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from job_states import SCORES, complete_job, fail_job, set_status, start_job

from lmms_eval_client import (
    AsyncClient,
    AsyncEvalClient,
    Client,
    EvalClient,
    EvaluateRequest,
    JobCancelled,
    JobFailed,
    JobStatus,
    NotAuthorized,
    NotFound,
    RequestInvalid,
    Retries,
    WaitTimedOut,
)
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REQUEST = EvaluateRequest(
    model="llava_hf", tasks=["mme"], model_args={"pretrained": "a/b"}, limit=8, labels={"run": "7"}
)


@pytest.fixture
def ours(front_end: FrontEnd) -> Iterator[Client]:
    with Client(front_end.url, token=TOKEN) as client:
        yield client


def test_every_method_of_lmms_evals_clients_is_there_with_its_arguments_and_defaults(upstream: ModuleType) -> None:
    for theirs, ours in ((upstream.EvalClient, EvalClient), (upstream.AsyncEvalClient, AsyncEvalClient)):
        for name, method in inspect.getmembers(theirs, inspect.isfunction):
            if not name.startswith("_"):
                wanted = [one for one in _arguments(method) if one.kind is not inspect.Parameter.VAR_KEYWORD]
                offered = _arguments(getattr(ours, name))[: len(wanted)]
                assert [(one.name, one.default) for one in offered] == [(one.name, one.default) for one in wanted], name
                assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(method)


def _arguments(function: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


async def test_code_written_for_lmms_evals_client_runs(
    front_end: FrontEnd, client: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    with EvalClient(front_end.url_with_token) as theirs:
        assert theirs.is_healthy() and theirs.health()["status"] == "healthy"
        good, bad, waiting = (
            theirs.evaluate(
                model="llava_hf", tasks=["mme"], model_args={"pretrained": "a/b"}, limit=8, device="cuda:0"
            )["job_id"]
            for _ in range(3)
        )
        assert set(theirs.get_queue_status()["queued_jobs"]) == {good, bad, waiting}
        await complete_job(client, good)
        finished = theirs.wait_for_job(good, poll_interval=0.05, timeout=20)
        assert type(finished) is dict
        assert (finished["status"], finished["scores"], finished["request"]["limit"]) == ("completed", SCORES, 8)
        assert f"Job {good[:8]}... completed!" in capsys.readouterr().out

        await fail_job(client, bad)
        with pytest.raises(RuntimeError, match="^Job failed: TaskNotFound: lmms-eval has no task 'nope'."):
            theirs.wait_for_job(bad, poll_interval=0.05, timeout=20)
        with pytest.raises(TimeoutError, match=f"^Timeout waiting for job {waiting}$"):
            theirs.wait_for_job(waiting, 0.05, 0.2, verbose=False)
        assert theirs.cancel_job(waiting) == {"message": f"Job {waiting} cancelled"}
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            theirs.cancel_job(waiting)
        with pytest.raises(RuntimeError, match="^Job cancelled: "):
            theirs.wait_for_job(waiting, poll_interval=0.05)
        with pytest.raises(httpx.HTTPStatusError) as refused:
            theirs.merge_checkpoint("/a")
        assert refused.value.response.status_code == 501


async def test_async_code_too(front_end: FrontEnd, client: Transport) -> None:
    async with AsyncEvalClient(front_end.url_with_token) as theirs:
        sent = await theirs.evaluate("llava_hf", ["mme"], model_args={"pretrained": "a/b"}, priority=5)
        await complete_job(client, sent["job_id"])
        finished = await theirs.wait_for_job(sent["job_id"], poll_interval=0.05, timeout=20)
        assert (finished["status"], finished["request"]["priority"]) == ("completed", 5)
        await theirs.list_tasks()
        await theirs.list_models()


def test_a_submission_is_one_job_however_often_it_is_sent(ours: Client) -> None:
    first = ours.submit(REQUEST, idempotency_key="ckpt-1000")
    assert ours.submit(REQUEST, idempotency_key="ckpt-1000").job_id == first.job_id
    assert ours.submit(REQUEST).job_id != first.job_id
    with pytest.raises(RequestInvalid, match="key"):
        ours.submit(REQUEST.model_copy(update={"limit": 9}), idempotency_key="ckpt-1000")


def test_a_dry_run_stores_nothing_and_refuses_what_a_real_one_would(ours: Client) -> None:
    job_id = ours.submit(REQUEST, dry_run=True).job_id
    with pytest.raises(NotFound, match=f"Job {job_id} not found"):
        ours.job(job_id)
    with pytest.raises(RequestInvalid, match="limit"):
        ours.submit(REQUEST.model_copy(update={"limit": -8}), dry_run=True)


def test_jobs_are_listed_over_pages_and_by_filters(ours: Client) -> None:
    named = [ours.submit(REQUEST.model_copy(update={"name": f"job-{number}"})).job_id for number in range(5)]
    ours.submit(EvaluateRequest(model="vllm", tasks=["mmmu_val"]))
    assert {job.job_id for job in ours.jobs(labels=["run=7"], page_size=2)} == set(named)
    assert len(list(ours.jobs(page_size=4))) == 6
    assert [job.model for job in ours.jobs(model="vllm", task="mmmu_val", status=["queued"])] == ["vllm"]
    assert list(ours.jobs(status=["failed", "completed"])) == []
    assert ours.queue().queue_size == 6


def test_a_job_is_held_moved_and_cancelled(ours: Client) -> None:
    job = ours.submit(REQUEST).job_id
    assert ours.update(job, priority=7, hold=True).priority == 7
    assert ours.job(job).hold
    assert ours.update(job, ttl_seconds_after_finished=60).ttl_seconds_after_finished == 60
    assert ours.update(job, ttl_seconds_after_finished=None).ttl_seconds_after_finished is None
    assert ours.update(job, keep=True).keep and not ours.update(job, keep=False).keep
    with pytest.raises(ValueError, match="model"):
        ours.update(job, model="other")
    assert ours.cancel(job) == f"Job {job} cancelled"
    with pytest.raises(JobCancelled) as caught:
        ours.wait(job)
    assert caught.value.job.job_id == job


async def test_events_tell_a_job_from_its_place_in_the_queue_to_its_scores(
    front_end: FrontEnd, client: Transport
) -> None:
    async with AsyncClient(front_end.url, token=TOKEN) as ours:
        job = (await ours.submit(REQUEST)).job_id
        seen = []
        async for state in ours.events(job, timeout=60):
            seen.append((state.status, state.progress.completed if state.progress else None))
            if state.status is JobStatus.QUEUED:
                await start_job(client, job)
            elif state.status is JobStatus.RUNNING:
                await set_status(client, job, "Completed", reason="Succeeded", scores=SCORES)
        assert (seen[0], seen[-1]) == ((JobStatus.QUEUED, None), (JobStatus.COMPLETED, 8))
        finished = await ours.wait(job)
        assert finished.scores == SCORES


async def test_a_wait_outlives_a_front_end_that_is_replaced(start_front_end: StartFrontEnd, client: Transport) -> None:
    first = start_front_end()
    first.wait_until_ready()
    async with AsyncClient(first.url, token=TOKEN, retries=Retries(first_pause=0.05, longest_pause=0.5)) as ours:
        job = (await ours.submit(REQUEST)).job_id
        waiting = asyncio.create_task(ours.wait(job, timeout=60))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(first.stop)
        await complete_job(client, job)
        second = start_front_end(LMMS_EVAL_API_PORT=first.url.rpartition(":")[2])
        assert second.process.poll() is None
        assert (await waiting).status is JobStatus.COMPLETED


async def test_fifty_waiters_wait_on_one_front_end(front_end: FrontEnd, client: Transport) -> None:
    async with AsyncClient(front_end.url, token=TOKEN) as ours:
        jobs = [(await ours.submit(REQUEST)).job_id for _ in range(10)]
        waits = [asyncio.create_task(ours.wait(job, timeout=60)) for job in jobs for _ in range(5)]
        await asyncio.sleep(0.2)
        for job in jobs:
            await (fail_job if job == jobs[-1] else complete_job)(client, job)
        ended = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(end) for end in ended[-5:]] == [JobFailed] * 5
    assert {end.status for end in ended[:-5] if not isinstance(end, BaseException)} == {JobStatus.COMPLETED}


def test_a_wait_that_takes_too_long_ends_and_the_job_goes_on(ours: Client) -> None:
    job = ours.submit(REQUEST).job_id
    started = time.monotonic()
    with pytest.raises(WaitTimedOut):
        ours.wait(job, timeout=1)
    assert time.monotonic() - started < 60
    assert ours.job(job).status is JobStatus.QUEUED


def test_without_the_token_it_says_so(front_end: FrontEnd) -> None:
    with Client(front_end.url) as nobody:
        assert not nobody.is_healthy()
        with pytest.raises(NotAuthorized):
            nobody.submit(REQUEST)


def test_what_is_refused_says_which_field_and_what_to_do(ours: Client) -> None:
    with pytest.raises(RequestInvalid, match="env") as caught:
        ours.evaluate("llava_hf", ["mme"], {"api_key": "sk-123"})
    assert "sk-123" not in str(caught.value)
    assert ours.evaluate("llava_hf", ["mme"], nonsense=1)["warnings"]
