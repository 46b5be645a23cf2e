"""A run that loses its pod or its process goes on where it was, on a real node, to the scores and samples of a run that
nobody disturbed.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest
from release_fixtures import TASK, Release, build_slow_environment, build_smoke_evaluation

pytestmark = pytest.mark.system

LIMIT = 12
# Killed as the kernel's out-of-memory killer does it: the harness, with everything that it has started.
KILL_HARNESS = """
import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if b"lmms_eval_runner.warm_start" in (process / "cmdline").read_bytes().split(bytes(1)):
        os.kill(int(process.name), signal.SIGKILL)
"""


class Product(NamedTuple):
    """What an evaluation is for: its scores, and the samples as they are stored."""

    scores: dict[str, Any]
    samples: bytes


def read_product(release: Release, http: httpx.Client, name: str) -> Product:
    """Return what the completed evaluation produced."""
    answer = http.get(f"/jobs/{name}/samples/{TASK}", headers={"Accept": "application/x-ndjson"}).raise_for_status()
    return Product(release.read_status(name)["scores"], answer.content)


@pytest.fixture(scope="module")
def undisturbed(release: Release) -> str:
    """The name of an evaluation that nobody disturbed."""
    name = release.apply(build_smoke_evaluation("undisturbed", limit=LIMIT))
    assert release.finish(name)["phase"] == "Completed"
    return name


def evict(release: Release, pod: str) -> None:
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": release.namespace},
    }
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}/eviction"
    release.deployment("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def delete_pod(release: Release, pod: str) -> None:
    release.deployment("delete", "pod", pod, "--wait=false")


def kill_harness(release: Release, pod: str) -> None:
    release.deployment("exec", pod, "-c", "evaluator", "--", "python", "-c", KILL_HARNESS)


@pytest.mark.parametrize(
    ("reason", "disturb"), [("Preempted", evict), ("PodDeleted", delete_pod), ("Interrupted", kill_harness)]
)
def test_an_attempt_that_others_end_is_taken_up_at_the_answer(
    release: Release, http: httpx.Client, undisturbed: str, reason: str, disturb: Callable[[Release, str], None]
) -> None:
    # Without a retry: what was answered is kept, and so the attempt that was lost does not count.
    name = release.apply(
        build_smoke_evaluation(f"taken-up-{reason.lower()}", limit=LIMIT, env=build_slow_environment(2), retries=0)
    )
    kept = release.wait(name, lambda status: status.get("progress", {}).get("kept", 0) > 0, what="kept in the store")
    disturb(release, release.find_running_pod(name))
    status = release.wait(name, lambda status: status["reason"] == "Retrying", what="Retrying")
    assert status["message"].startswith(f"attempt 1 of 2 ended as {reason}, which spends no retry"), status
    status = release.finish(name)
    assert (status["phase"], status["freeAttempts"]) == ("Completed", 1), status
    first, second = status["attempts"]
    assert (first["reason"], first["free"], second["reason"]) == (reason, True, "Succeeded")
    assert second["resumed"] == status["progress"]["resumed"]
    assert second["resumed"]["answers"] >= kept["progress"]["kept"], status
    assert (second["resumed"]["fromAttempt"], second["resumed"]["exactness"]) == (1, "exact")
    events = release.deployment("get", "events", "--field-selector", f"involvedObject.name={name},reason=Resumed")
    assert " of attempt 1 (exact)" in events
    assert read_product(release, http, name) == read_product(release, http, undisturbed)
