"""Cancel frees the GPU, says Cancelled, and the queue goes on."""

import time

import pytest
from release_fixtures import Release, build_slow_environment, build_smoke_evaluation

pytestmark = pytest.mark.system


def test_cancel_of_a_running_evaluation_frees_the_gpu(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("cancel-running", env=build_slow_environment(), limit=None))
    behind = release.apply(build_smoke_evaluation("behind"))
    release.wait_until_evaluating(name)
    asked = time.monotonic()
    release.cancel(name)
    while any(pod["status"]["phase"] in ("Pending", "Running") for pod in release.list_pods(name)):
        assert time.monotonic() - asked < 120
        time.sleep(0.1)
    print(f"GPU free {time.monotonic() - asked:.1f} s after cancel")
    status = release.finish(name)
    assert (status["phase"], status["reason"]) == ("Cancelled", "CancelledByUser"), status
    assert release.finish(behind)["phase"] == "Completed"


def test_cancel_of_a_queued_evaluation_never_starts_it(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("cancel-queued", hold=True))
    release.cancel(name)
    assert release.finish(name)["phase"] == "Cancelled"
    assert release.list_pods(name) == []


def test_a_deleted_evaluation_frees_its_slot(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("delete-running", env=build_slow_environment(), limit=None))
    release.wait_until_evaluating(name)
    release.deployment("delete", "lmmevaluation", name)
    assert release.finish(release.apply(build_smoke_evaluation("after-delete")))["phase"] == "Completed"
