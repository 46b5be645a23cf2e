"""Two replicas of the front end behind their Service on a real node: they answer as one, and either may go."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pod_fixtures import PodRunner
from release_fixtures import REQUEST, RUN_SECONDS, Release, build_slow_environment

from lmms_eval_client import Client, EvaluateRequest
from lmms_eval_core.wire import JobInfo, JobStatus

pytestmark = pytest.mark.system
ROUNDS = 20


@pytest.fixture
def replicas(release: Release) -> Iterator[list[str]]:
    """The names of two pods that serve; one again afterwards."""
    release.deployment.install(release.values | {"api": {"replicas": 2}})
    yield [pod["metadata"]["name"] for pod in release.deployment.json("get", "pods", "-l", COMPONENT)["items"]]
    release.deployment.install(release.values)


COMPONENT = "app.kubernetes.io/component=api"


def connect(url: str, token: str) -> Client:
    """A client each of whose requests may be answered by another replica."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return Client(url, token=token, transport=httpx.HTTPTransport(limits=limits))


def write_and_read(client: Client, number: int) -> None:
    name = client.submit(EvaluateRequest(**REQUEST, hold=True)).job_id
    assert (name in client.queue().queued_jobs, client.job(name).status) == (True, JobStatus.QUEUED)
    client.update(name, priority=number + 1)
    assert client.job(name).priority == number + 1
    client.cancel(name)
    assert (name in client.queue().queued_jobs, client.job(name).status) == (False, JobStatus.CANCELLED)


def test_they_answer_as_one_and_a_wait_outlives_each(
    release: Release, replicas: list[str], pod_runner: PodRunner
) -> None:
    token = release.deployment.token()

    def waited(name: str) -> JobInfo:
        with connect(url, token) as client:
            return client.wait(name, timeout=RUN_SECONDS)

    with pod_runner.forward_service() as url, connect(url, token) as client, ThreadPoolExecutor(1) as others:
        job = client.submit(EvaluateRequest(**REQUEST, env=build_slow_environment(30))).job_id
        end = others.submit(waited, job)
        for number in range(ROUNDS):
            write_and_read(client, number)
        assert len(replicas) == 2
        for pod in replicas:
            assert "/evaluate" in release.deployment("logs", pod), f"{pod} was never asked"
            release.deployment("delete", "pod", pod)
            release.deployment("rollout", "status", f"deployment/{release.deployment.release}-api", "--timeout=120s")
        # Whichever had the wait is gone.
        assert not end.done()
        write_and_read(client, ROUNDS)
        ended = end.result(timeout=RUN_SECONDS)
    assert (ended.job_id, ended.status, ended.scores) == (job, JobStatus.COMPLETED, release.read_status(job)["scores"])
