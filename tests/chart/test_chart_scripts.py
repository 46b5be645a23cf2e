"""The chart's two scripts, as their pods run them: on a real API server, with the rights that the chart gives them."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import deployment
import pytest
from deployment import CHART, Kubectl
from front_end_fixtures import FrontEnd
from provided import build_bare_environment

from lmms_eval_core import names

pytestmark = pytest.mark.integration

Object = dict[str, Any]
Render = Callable[..., list[Object]]
REQUEST = {"model": "llava_hf", "tasks": ["smoke_vqa"]}


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHART / "scripts" / script)]
    variables = {**build_bare_environment(), **environment}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


OURS = {names.LABEL_MANAGED_BY: names.MANAGED_BY}


def pod(name: str, labels: Object = OURS, **spec: Any) -> Object:
    """A pod that waits for ever."""
    spec |= {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_uninstalling_ends_the_operator_and_stops_what_runs(
    guard: Callable[..., Any], render: Render, kubectl: Kubectl
) -> None:
    guarded = guard({})
    objects = render(namespace=guarded.namespace)
    guarded.apply([item for item in objects if item["metadata"]["name"] == "lmms-eval-operator"])
    gates = [{"name": names.SCHEDULING_GATE}]
    guarded.apply([pod("running"), pod("waiting", schedulingGates=gates), pod("unrelated", {"a": "b"})])
    here = ["-n", guarded.namespace]

    kubeconfig = guarded.kubeconfig("lmms-eval-uninstall")
    told = {
        "NAMESPACE": guarded.namespace,
        "RELEASE": "lmms-eval",
        "OPERATOR": "lmms-eval-operator",
        "TIMEOUT_SECONDS": "120",
    }
    done = run("stop.py", KUBECONFIG=kubeconfig, **told)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["ending running"]), done.stderr

    left = {item["metadata"]["name"] for item in kubectl.json(*here, "get", "pods")["items"]}
    assert left == {"waiting", "unrelated"}
    assert kubectl.json(*here, "get", "deployment", "lmms-eval-operator")["spec"]["replicas"] == 0
    assert run("stop.py", KUBECONFIG=kubeconfig, **told).returncode == 0


def test_the_pods_of_finished_evaluations_do_not_hold_up_the_uninstall(
    guard: Callable[..., Any], kubectl: Kubectl
) -> None:
    guarded = guard({})
    spec = {"containers": [{"name": "a", "image": "a"}]}
    guarded.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "finished", "labels": OURS}, "spec": spec}])
    ended = json.dumps({"status": {"phase": "Succeeded"}})
    kubectl("-n", guarded.namespace, "patch", "pod", "finished", "--subresource=status", "--type=merge", "-p", ended)
    told = {"NAMESPACE": guarded.namespace, "RELEASE": "lmms-eval", "OPERATOR": "none", "TIMEOUT_SECONDS": "120"}
    done = run("stop.py", KUBECONFIG=kubectl.kubeconfig, **told)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def smoke(front_end: FrontEnd, *, seconds: str = "120") -> subprocess.CompletedProcess[str]:
    tokens = str(front_end.tokens)
    return run("smoke.py", URL=front_end.url, TOKENS=tokens, REQUEST=json.dumps(REQUEST), TIMEOUT_SECONDS=seconds)


def finishing(kubectl: Kubectl, namespace: str, status: Object) -> threading.Thread:
    """Somebody who ends the one evaluation that comes, in the operator's place."""

    def finish() -> None:
        here = ["-n", namespace]
        items = deployment.wait_until(
            lambda: kubectl.json(*here, "get", "lmme")["items"], seconds=120, what="an evaluation"
        )
        for patch in ({"phase": "Running", "reason": "Evaluating"}, status):
            name = items[0]["metadata"]["name"]
            text = json.dumps({"status": patch})
            kubectl(*here, "patch", "lmme", name, "--subresource=status", "--type=merge", "-p", text)

    thread = threading.Thread(target=finish)
    thread.start()
    return thread


def test_the_smoke_test_prints_the_scores(front_end: FrontEnd, namespace: str, kubectl: Kubectl) -> None:
    scores = {"smoke_vqa": {"exact_match": {"value": 0.25, "stderr": None}}}
    other = finishing(kubectl, namespace, {"phase": "Completed", "reason": "Succeeded", "scores": scores})
    done = smoke(front_end)
    other.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed: Succeeded" in done.stdout
    assert '"value": 0.25' in done.stdout


def test_the_smoke_test_says_why_it_failed(front_end: FrontEnd, namespace: str, kubectl: Kubectl) -> None:
    other = finishing(kubectl, namespace, {"phase": "Failed", "reason": "TaskNotFound", "message": "no task smoke_vqa"})
    done = smoke(front_end)
    other.join()
    assert done.returncode == 1
    assert "no scores: failed: TaskNotFound: no task smoke_vqa" in done.stdout


def test_the_smoke_test_gives_up(front_end: FrontEnd) -> None:
    done = smoke(front_end, seconds="1")
    assert done.returncode == 1
    assert "no scores: queued: " in done.stdout


def test_the_smoke_test_shows_a_refusal(front_end: FrontEnd) -> None:
    done = run("smoke.py", URL=front_end.url, TOKENS="/nowhere", REQUEST=json.dumps(REQUEST), TIMEOUT_SECONDS="1")
    assert done.returncode == 1
    assert "the front end answered 401" in done.stdout
