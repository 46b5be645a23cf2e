"""Loads the fixtures of tests/support, and settings for every test."""

import gc
import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# One that imports another comes after it: pytest rewrites the assertions of what it loads first.
pytest_plugins = [
    "cluster_fixtures",
    "kubelet_fixtures",
    "s3_fixtures",
    "front_end_fixtures",
    "command_fixtures",
    "release_fixtures",
    "pod_fixtures",
    "volume_fixtures",
    "upstream_fixtures",
    "web_fixtures",
    "scheduling",
]

# How long one example takes says more about the machine than about the code. Continuous integration judges a change by
# the same examples every time; a developer's run looks for new ones.
ci = bool(os.environ.get("CI"))
settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=ci)
settings.load_profile("ours")


def pytest_collection_finish() -> None:
    """What imports and the collection made lasts as long as the process: the garbage collector need not walk it."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The JUnit report names the namespace of a test that plays on a cluster.

    A failure there leaves nothing in the queue.
    """
    given = getattr(item, "funcargs", {})
    release: Any = given.get("release")
    namespace = release.namespace if release else given.get("namespace") or given.get("shared_namespace")
    if namespace and ("namespace", namespace) not in item.user_properties:
        item.user_properties.append(("namespace", namespace))
    report = yield
    # A release of the system tests: others are only rendered, or have no node.
    if report.failed and hasattr(release, "delete_evaluations"):
        release.delete_evaluations()
    return report
