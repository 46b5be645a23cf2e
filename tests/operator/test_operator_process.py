"""The whole process, kopf and probes included, on a real API server; there is no node, the test is the kubelet."""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server_proxy import open_proxy
from deployment import ROOT, Kubectl
from operator_namespace import OperatorNamespace
from operator_process import build_phase_check, complete_evaluation, has_logged, run_operator, wait_until

from lmms_eval_core.kube.client import JOBS
from lmms_eval_operator.reconcile import RELIST_SECONDS
from lmms_eval_operator.view import EVENTS_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# For a machine that does other things as well.
SLACK_SECONDS = 5


async def test_events_drive_the_queue_and_sigterm_ends_it_in_two_seconds(
    place: OperatorNamespace, kubeconfig: str, tmp_path: Path
) -> None:
    async with run_operator(place, kubeconfig, tmp_path) as running:
        for priority, name in enumerate(("c", "b", "a")):
            await place.submit(name, priority=priority)
        for name in ("a", "b", "c"):
            await complete_evaluation(place, name)
        assert await running.probe("livez") == await running.probe("readyz") == 200
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0
        assert time.monotonic() - began < 2 + SLACK_SECONDS
        done = [
            (entry["action"], entry.get("evaluation")) for entry in running.read_events() if entry["event"] == "done"
        ]
        assert [name for action, name in done if action == "OpenGate"] == ["a", "b", "c"]


def rights() -> list[dict[str, list[str]]]:
    """The Role that operator/README.md asks for."""
    rows = [
        line.split("|")[1:4]
        for line in (ROOT / "operator" / "README.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    cells = [[cell.strip() for cell in row] for row in rows[1:]]
    return [
        {"apiGroups": ["" if group == "(core)" else group], "resources": [resource], "verbs": verbs.split(", ")}
        for group, resource, verbs in cells
    ]


def as_service_account(kubectl: Kubectl, namespace: str, folder: Path) -> str:
    """A kubeconfig of an account that has these rights in the namespace and no others."""
    kubectl("-n", namespace, "create", "serviceaccount", "operator")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "operator"},
        "rules": rights(),
    }
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(role))
    kubectl(
        "-n",
        namespace,
        "create",
        "rolebinding",
        "operator",
        "--role=operator",
        f"--serviceaccount={namespace}:operator",
    )
    token = kubectl("-n", namespace, "create", "token", "operator").strip()
    config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig-of-the-operator"
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def test_the_rights_in_the_readme_are_enough(place: OperatorNamespace, kubectl: Kubectl, tmp_path: Path) -> None:
    path = as_service_account(kubectl, place.client.namespace, tmp_path)
    async with run_operator(place, path, tmp_path) as running:
        for name in ("a", "orphaned", "cancelled"):
            await place.submit(name, hold=True)
        await place.edit("a", hold=False)
        await complete_evaluation(place, "a")
        await place.edit("orphaned", hold=False)
        await wait_until(build_phase_check(place, "orphaned", "Running"))
        await place.wait_for_pod("orphaned")
        (job,) = await place.list_jobs("orphaned")
        await place.client.delete(JOBS, job["metadata"]["name"], uid=job["metadata"]["uid"], propagation="Orphan")
        await asyncio.sleep(EVENTS_SECONDS + 1)
        await place.edit("orphaned", cancel=True)
        await wait_until(build_phase_check(place, "orphaned", "Cancelled"))
        await place.edit("cancelled", hold=False)
        await wait_until(build_phase_check(place, "cancelled", "Running"))
        await place.bind("cancelled")
        await asyncio.sleep(EVENTS_SECONDS + 1)
        await place.edit("cancelled", cancel=True)
        await place.end_pod(await place.wait_for_pod("cancelled"), 143)
        await wait_until(build_phase_check(place, "cancelled", "Cancelled"))
        await place.edit("cancelled", ttlSecondsAfterFinished=0)
        await wait_until(lambda: has_logged(running, "deleted"))
        actions = {entry.get("action") for entry in running.read_events()}
        assert {
            "Claim",
            "CreateJob",
            "MarkRunning",
            "OpenGate",
            "EndPod",
            "Finish",
            "Release",
            "ReadEvents",
        } <= actions
        assert [entry for entry in running.read_events() if entry["level"] in ("warning", "error")] == []


async def test_an_event_wakes_it_at_once(place: OperatorNamespace, kubeconfig: str, tmp_path: Path) -> None:
    async with run_operator(place, kubeconfig, tmp_path):
        await place.submit("first")
        await complete_evaluation(place, "first")
        # Well before the next list, whatever else the machine does.
        await place.submit("second")
        assert await wait_until(build_phase_check(place, "second", "Running")) < RELIST_SECONDS / 2


async def test_killed_and_started_again_it_carries_on(
    place: OperatorNamespace, kubeconfig: str, tmp_path: Path
) -> None:
    await place.submit("a", priority=1)
    await place.submit("b")
    async with run_operator(place, kubeconfig, tmp_path):
        await wait_until(build_phase_check(place, "a", "Running"))
        await place.wait_for_pod("a")
    await place.publish_scores("a")
    await place.end_pod_of("a", 0)
    async with run_operator(place, kubeconfig, tmp_path):
        await wait_until(build_phase_check(place, "a", "Completed"))
        await complete_evaluation(place, "b")
    assert len(await place.list_pods("a")) == 1


@pytest.mark.parametrize("mode", ["cut", "500", "error event"])
async def test_an_outage_ends_no_process_and_the_queue_goes_on_after_it(
    place: OperatorNamespace, kubeconfig: str, tmp_path: Path, mode: Any
) -> None:
    async with open_proxy(kubeconfig, tmp_path) as (between, path), run_operator(place, path, tmp_path) as running:
        await place.submit("a")
        await wait_until(build_phase_check(place, "a", "Running"))
        await place.wait_for_pod("a")
        await asyncio.sleep(1)
        between.mode = mode
        await place.publish_scores("a")
        await place.end_pod_of("a", 0)
        await place.submit("b")
        await asyncio.sleep(8)
        assert running.process.returncode is None
        assert await running.probe("livez") == 200
        between.mode = "pass"
        took = await wait_until(build_phase_check(place, "a", "Completed"), seconds=80)
        assert took < RELIST_SECONDS / 2 or mode == "error event"
        await complete_evaluation(place, "b")
        if mode == "error event":
            await wait_until(lambda: has_logged(running, "watching again"))
        # It watches again: the next list is far away.
        await asyncio.sleep(6)
        await place.submit("c")
        assert await wait_until(build_phase_check(place, "c", "Running")) < RELIST_SECONDS / 2
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 2 + SLACK_SECONDS) == 0
