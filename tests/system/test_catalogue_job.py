"""What the evaluator image knows, on its way through the Job of the installed chart to the front end."""

import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from release_fixtures import Object, Release

pytestmark = pytest.mark.system

JOB = "app.kubernetes.io/component=catalogue"
SECONDS = 300.0


@pytest.fixture(scope="module", autouse=True)
def values(release: Release) -> Iterator[Object]:
    """The release with its catalogue, which has ended; without, afterwards."""
    values = release.values | {"catalogue": {"enabled": True}}
    release.deployment.install(values)
    release.deployment("wait", "job", "-l", JOB, "--for=condition=Complete", f"--timeout={SECONDS:.0f}s")
    yield values
    release.deployment.install(release.values)


def listed(http: httpx.Client, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while True:
        found: dict[str, Any] = http.get(path).json()
        if "error" not in found:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(1)


def test_the_image_of_the_release_lists_what_it_knows(http: httpx.Client) -> None:
    tasks, models = listed(http, "/tasks")["tasks"], listed(http, "/models")
    assert len(tasks) > 1900 and "mme" in tasks and tasks == sorted(tasks)
    assert "llava_hf" in models["models"] and "llava_hf" not in models["unavailable"]
    assert "lacks the package" in models["unavailable"]["sglang"]


def test_lmms_evals_own_client_is_told(http: httpx.Client, upstream: ModuleType, release: Release) -> None:
    listed(http, "/models")
    address = str(http.base_url).rstrip("/").replace("://", f"://somebody:{release.deployment.token()}@")
    with upstream.EvalClient(address) as theirs:
        assert theirs.is_healthy()
        assert len(theirs.list_tasks()) > 1900 and "mme" in theirs.list_tasks()
        assert {"llava_hf", "qwen2_5_vl", "vllm"} <= set(theirs.list_models())


def test_an_upgrade_makes_it_no_second_time(release: Release, values: Object) -> None:
    def jobs() -> list[tuple[str, str]]:
        found = release.deployment.json("get", "jobs", "-l", JOB)["items"]
        return [(item["metadata"]["name"], item["metadata"]["uid"]) for item in found]

    before = jobs()
    release.deployment.install(values)
    assert len(before) == 1 and jobs() == before
