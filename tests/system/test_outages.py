"""The API server or the object store goes away for two minutes at the end of a run; the results are published
afterwards.

Operator and front end do not need each other.
"""

import time
from itertools import groupby, pairwise

import deployment
import pytest
from pod_fixtures import PodRunner, PolledAnswer
from release_fixtures import REQUEST, TASK, Release, build_slow_environment, build_smoke_evaluation, open_front_end

pytestmark = pytest.mark.system

AWAY_SECONDS = 120


def test_results_survive_two_minutes_without_the_store(release: Release) -> None:
    store = f"deployment/{release.deployment.release}-s3"
    name = release.apply(build_smoke_evaluation("store-away", env=build_slow_environment()))
    release.wait_until_evaluating(name)
    release.deployment("scale", store, "--replicas=0")
    release.wait(name, lambda status: status["reason"] == "Publishing", what="Publishing")
    time.sleep(AWAY_SECONDS)
    assert release.read_status(name)["phase"] == "Running"
    release.deployment("scale", store, "--replicas=1")
    assert release.finish(name)["phase"] == "Completed"


@pytest.mark.outage
def test_results_survive_two_minutes_without_the_api_server(release: Release, pod_runner: PodRunner) -> None:
    name = release.apply(build_smoke_evaluation("api-server-away", env=build_slow_environment()))
    release.wait_until_evaluating(name)
    with pod_runner.poll_service(f"/jobs/{name}") as answers:
        deployment.program("cluster", "stop", "kube-apiserver")
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            deployment.program("cluster", "start", "kube-apiserver")
        deployment.wait_until(
            lambda: release.deployment.kubectl.run("get", "--raw", "/readyz").returncode == 0,
            seconds=180,
            what="readyz",
        )
        for_a_minute_from_memory_and_then_not(answers())
    assert release.finish(name)["phase"] == "Completed"
    release.deployment("rollout", "status", f"deployment/{release.deployment.release}-operator", "--timeout=120s")


def for_a_minute_from_memory_and_then_not(told: list[PolledAnswer]) -> None:
    """What the front end answers while the API server is away: what it knows and how old that is, and no mistake."""
    # Not ready, it is taken out of its Service for a moment when there is an API server again to do that.
    assert [status for status, _ in groupby(each.status for each in told if each.status)] == [200, 503, 200], told
    lost = [each.status for each in told].index(503)
    ages = [int(each.age or -1) for each in told[:lost]]
    aging = ages[len(ages) - ages[::-1].index(0) :]
    assert all(earlier <= later for earlier, later in pairwise(aging)) and min(ages) == 0, ages
    # The minute counts from the loss, the age from the last word before it.
    assert len(aging) > 40 and 50 <= aging[-1] - aging[0] <= 60, ages
    assert all(int(each.retry_after or 0) > 0 for each in told if each.status == 503)
    assert int(told[-1].age or -1) == 0


def test_one_submits_without_the_operator_and_runs_without_the_front_end(release: Release) -> None:
    def scale(part: str, replicas: int) -> None:
        workload = f"deployment/{release.deployment.release}-{part}"
        release.deployment("scale", workload, f"--replicas={replicas}")
        release.deployment("rollout", "status", workload, "--timeout=120s")

    scale("operator", 0)
    with open_front_end(release) as http:
        submitted = http.post("/evaluate", json=REQUEST)
        assert (submitted.status_code, submitted.json()["position_in_queue"]) == (200, 0)
        job = submitted.json()["job_id"]
        assert http.get(f"/jobs/{job}").json()["status"] == "queued"
    scale("api", 0)
    scale("operator", 2)
    assert release.finish(job)["phase"] == "Completed"
    scale("api", 1)
    with open_front_end(release) as http:
        # Where the store is slow to answer, the output is left out, with a warning.
        deployment.wait_until(
            lambda: (http.get(f"/jobs/{job}").json()["output"] or {}).get("results", {}).get(TASK),
            seconds=60,
            what="the results of a job in a new front end",
        )
