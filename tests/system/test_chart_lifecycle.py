"""helm test, upgrade and uninstall on a real node."""

import pytest
from release_fixtures import Release, build_slow_environment, build_smoke_evaluation

pytestmark = pytest.mark.system


def test_helm_test_runs_a_real_evaluation(release: Release) -> None:
    assert "Phase:          Succeeded" in release.deployment.helm(
        "test", release.deployment.release, "--timeout", "300s"
    )


def test_an_upgrade_keeps_token_store_and_a_running_evaluation(release: Release) -> None:
    before = release.deployment.token()
    name = release.apply(build_smoke_evaluation("upgraded", env=build_slow_environment()))
    release.wait_until_evaluating(name)
    release.deployment.install(release.values)
    assert release.deployment.token() == before
    assert release.finish(name)["phase"] == "Completed"


def test_uninstall_stops_what_runs_and_keeps_the_evaluations(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("uninstalled", env=build_slow_environment(), limit=None))
    release.wait_until_evaluating(name)
    release.deployment.helm("uninstall", release.deployment.release, "--wait")
    assert release.list_pods(name) == [] or all(pod["status"]["phase"] != "Running" for pod in release.list_pods(name))
    assert release.get(name)["spec"]["model"] == "llava_hf"
    release.deployment("delete", "lmmevaluation", name)
    release.deployment.install(release.values)
