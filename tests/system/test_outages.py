"""The API server or the object store goes away for two minutes at the end of a run; the results are published afterwards."""

import time

import deployment
import pytest
from release_fixtures import Release, smoke

pytestmark = pytest.mark.system

AWAY_SECONDS = 120


def test_results_survive_two_minutes_without_the_store(release: Release) -> None:
    store = f"deployment/{release.deployment.release}-s3"
    name = release.apply(smoke("store-away", env=[{"name": "SMOKE_SLEEP_SECONDS", "value": "2"}]))
    release.evaluating(name)
    release.deployment("scale", store, "--replicas=0")
    release.wait(name, lambda status: status["reason"] == "Publishing", what="Publishing")
    time.sleep(AWAY_SECONDS)
    assert release.status(name)["phase"] == "Running"
    release.deployment("scale", store, "--replicas=1")
    assert release.finish(name)["phase"] == "Completed"


def test_results_survive_two_minutes_without_the_api_server(release: Release) -> None:
    name = release.apply(smoke("api-server-away", env=[{"name": "SMOKE_SLEEP_SECONDS", "value": "2"}]))
    release.evaluating(name)
    deployment.program("cluster", "stop", "kube-apiserver")
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        deployment.program("cluster", "start", "kube-apiserver")
    deployment.wait_until(
        lambda: release.deployment.kubectl.run("get", "--raw", "/readyz").returncode == 0, seconds=60, what="readyz"
    )
    assert release.finish(name)["phase"] == "Completed"
    release.deployment("rollout", "status", f"deployment/{release.deployment.release}-operator", "--timeout=120s")
