"""The operator dies at any moment of a run; nothing is lost, nothing runs twice."""

import time

import pytest
from release_fixtures import PodWatch, Release, build_slow_environment, build_smoke_evaluation

pytestmark = pytest.mark.system


def operator_pods(release: Release) -> list[str]:
    names = release.deployment(
        "get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "jsonpath={.items[*].metadata.name}"
    )
    return names.split()


def kill_operator(release: Release) -> None:
    """SIGKILL, as far as a cluster can: no grace, no farewell."""
    release.deployment("delete", "pod", *operator_pods(release), "--grace-period=0", "--force", "--ignore-not-found")


def scale_operator(release: Release, replicas: int) -> None:
    release.deployment("scale", "deployment", f"{release.deployment.release}-operator", f"--replicas={replicas}")
    while bool(operator_pods(release)) != bool(replicas):
        time.sleep(0.2)


def test_kills_before_the_job_during_the_start_and_during_the_run(release: Release, pod_watch: PodWatch) -> None:
    scale_operator(release, 0)
    name = release.apply(build_smoke_evaluation("operator-killed", env=build_slow_environment()))
    assert release.read_status(name)["phase"] == "Queued"
    scale_operator(release, 1)
    release.wait(name, lambda status: status["phase"] == "Running", what="Running")
    kill_operator(release)
    release.wait_until_evaluating(name)
    kill_operator(release)
    assert release.finish(name)["phase"] == "Completed"
    assert len(pod_watch.list_runs([name])) == 1


def test_an_evaluation_that_ends_while_there_is_no_operator_is_completed_when_it_returns(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("operator-away", env=build_slow_environment()))
    release.wait_until_evaluating(name)
    scale_operator(release, 0)
    deadline = time.monotonic() + 120
    while any(pod["status"]["phase"] == "Running" for pod in release.list_pods(name)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert release.read_status(name)["scores"], "the reporter needs no operator"
    scale_operator(release, 1)
    assert release.finish(name)["phase"] == "Completed"
