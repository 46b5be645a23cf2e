"""Fixture `release`: the chart installed on a real node, and what tests do with it."""

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import deployment
import httpx
import provided
import pytest
from deployment import Deployment, Kubectl

from lmms_eval_api.routes.dependencies import COOKIE
from lmms_eval_core import names

NAMESPACES = "lmms-eval-test-"
# Workers of pytest-xdist each have a release of their own, so that they share the node and nothing else.
WORKERS = [f"gw{number}" for number in range(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")))] or ["alone"]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", WORKERS[0])
NAMESPACE = f"{NAMESPACES}{WORKER}"
SMOKE = "/opt/lmms-eval/smoke"
TASK = "smoke_vqa"
MODEL_ARGS = {"pretrained": f"{SMOKE}/models/llava", "device": "cpu", "device_map": "cpu"}
# The same evaluation as a request.
REQUEST = {"model": "llava_hf", "model_args": MODEL_ARGS, "tasks": [TASK], "include_path": f"{SMOKE}/tasks", "limit": 4}
# Documentation addresses (RFC 5737): at the first nobody answers, and at the second a test has somebody who never does.
NO_REGISTRY, STUCK_REGISTRY = "192.0.2.1:5000", "192.0.2.2:5000"
# A run takes about 15 s alone on two cores, where several releases run beside each other.
RUN_SECONDS = 300.0
TERMINAL = ("Completed", "Failed", "Cancelled")

Object = dict[str, Any]


def build_slow_environment(seconds: int = 5) -> list[Object]:
    """Build the environment of a run that takes `seconds` for each document.

    A test meets such a run in the middle, however busy the machine is.
    """
    return [{"name": "SMOKE_SLEEP_SECONDS", "value": str(seconds)}]


def build_smoke_evaluation(name: str, **spec: Any) -> Object:
    """Build an evaluation of the smoke model; `spec` replaces fields or, by None, removes them."""
    fields = {
        "model": "llava_hf",
        "modelArgs": MODEL_ARGS,
        "tasks": [TASK],
        "includePath": f"{SMOKE}/tasks",
        "batchSize": 1,
        "limit": 4,
        **spec,
    }
    return {
        "apiVersion": "lmms-eval.io/v1alpha1",
        "kind": "LMMEvaluation",
        "metadata": {"name": name},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


class Release(NamedTuple):
    """The chart under test.

    `api` reaches the API server for reads several times a second: a kubectl for each would occupy a processor. `seen`
    holds the newest resourceVersion of an evaluation that was read there.
    """

    deployment: Deployment
    values: Object
    api: httpx.Client
    seen: list[int]

    @property
    def namespace(self) -> str:
        """Where it is installed."""
        return self.deployment.namespace

    def apply(self, item: Object) -> str:
        """Apply an evaluation with kubectl; return its name."""
        self.deployment("apply", "-f", "-", stdin=json.dumps(item))
        return str(self.get(item["metadata"]["name"])["metadata"]["name"])

    def get(self, name: str) -> Object:
        """Return the evaluation."""
        item = self._read(f"apis/{names.API_VERSION}/namespaces/{self.deployment.namespace}/lmmevaluations/{name}")
        self.seen[0] = max(self.seen[0], int(item["metadata"]["resourceVersion"]))
        return item

    def add_seen_version(self, request: httpx.Request) -> None:
        """Have the front end answer no older than what was read from the API server, as for who has written it."""
        own = [int(version) for version in re.findall(rf"{COOKIE}=(\d+)", request.headers.get("Cookie", ""))]
        request.headers["Cookie"] = f"{COOKIE}={max([*self.seen, *own])}"

    def read_status(self, name: str) -> Object:
        """Return the evaluation's status."""
        status: Object = self.get(name)["status"]
        return status

    def wait(self, name: str, reached: Callable[[Object], bool], *, what: str, seconds: float = RUN_SECONDS) -> Object:
        """Return the status as soon as `reached` accepts it; fail with the last status after `seconds`."""
        deadline = time.monotonic() + seconds
        status = self.read_status(name)
        while not reached(status):
            assert time.monotonic() < deadline, f"{name} did not become {what} in {seconds:.0f} s: {json.dumps(status)}"
            assert status["phase"] not in TERMINAL, f"{name} ended before it became {what}: {json.dumps(status)}"
            time.sleep(0.2)
            status = self.read_status(name)
        return status

    def finish(self, name: str, *, seconds: float = RUN_SECONDS) -> Object:
        """Wait until the evaluation has ended; return its status."""
        return self.wait(name, lambda status: status["phase"] in TERMINAL, what="terminal", seconds=seconds)

    def wait_until_evaluating(self, name: str) -> Object:
        """Wait until the harness generates answers; return the status."""
        return self.wait(name, lambda status: status["reason"] == "Evaluating", what="Evaluating")

    def cancel(self, name: str) -> None:
        """Set spec.cancel, as a user does."""
        self.deployment("patch", "lmmevaluation", name, "--type=merge", "-p", '{"spec":{"cancel":true}}')

    def delete_evaluations(self) -> None:
        """Delete all evaluations, so that tests after a failure find the slot free."""
        self.deployment("delete", "lmmevaluation", "--all", "--wait=false")

    def list_pods(self, name: str) -> list[Object]:
        """List the evaluation's pods."""
        path = f"api/v1/namespaces/{self.deployment.namespace}/pods?labelSelector=lmms-eval.io/evaluation={name}"
        items: list[Object] = self._read(path)["items"]
        return items

    def _read(self, path: str) -> Object:
        item: Object = self.api.get(path).raise_for_status().json()
        return item

    def find_running_pod(self, name: str) -> str:
        """Return the name of the evaluation's only running pod."""
        (pod,) = [pod for pod in self.list_pods(name) if pod["status"]["phase"] == "Running"]
        return str(pod["metadata"]["name"])


class PodWatch:
    """The last seen state of every pod of an evaluation, deleted ones too, with the kubelet's own times."""

    def __init__(self, release: Deployment) -> None:
        command = [release.kubectl.binary, "--kubeconfig", release.kubectl.kubeconfig, "--namespace", release.namespace]
        command += ["get", "pods", "-l", "lmms-eval.io/evaluation", "--watch", "-o", "json"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.pods: dict[str, Object] = {}
        self._thread.start()

    def _read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line
            if line.startswith("}"):
                pod, _ = decoder.raw_decode(text.strip())
                self.pods[pod["metadata"]["uid"]] = pod
                text = ""

    def stop(self) -> None:
        """Stop the watch."""
        self._process.terminate()
        self._thread.join()
        self._process.communicate()

    def list_runs(self, names: list[str]) -> list[tuple[str, str, str]]:
        """List (start, end, evaluation) of every evaluator container, as the kubelet reports them, in order.

        Each of them has run: the watch may be a moment behind whoever has read that it ended.
        """
        deployment.wait_until(
            lambda: {run[2] for run in self._find_runs(names)} == set(names), seconds=60, what="the end of every run"
        )
        return self._find_runs(names)

    def _find_runs(self, names: list[str]) -> list[tuple[str, str, str]]:
        found = []
        for pod in list(self.pods.values()):
            evaluation = pod["metadata"]["labels"]["lmms-eval.io/evaluation"]
            for container in pod["status"].get("containerStatuses", []):
                ended = container["state"].get("terminated")
                if ended and evaluation in names:
                    found.append((ended["startedAt"], ended["finishedAt"], evaluation))
        return sorted(found)


@pytest.fixture
def pod_watch(release: Release) -> Iterator[PodWatch]:
    """Watches pods for the length of a test."""
    watch = PodWatch(release.deployment)
    yield watch
    watch.stop()


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Our images on a cluster with a node, as its pods call them; `make test` has brought them there before."""
    images: dict[str, str] = json.loads(
        provided.require_variable(provided.IMAGES, "a cluster with a node and our images", "system")
    )
    return images


@pytest.fixture(scope="session")
def node(images: dict[str, str]) -> Kubectl:
    """kubectl on that cluster."""
    return deployment.kubectl()


@pytest.fixture(scope="session")
def release(node: Kubectl, images: dict[str, str]) -> Iterator[Release]:
    """The chart of this checkout, installed under Pod Security `restricted`; taken away at the end."""
    # The list of tasks and models takes minutes of CPU: the tests that are about it ask for it.
    registries = [f"{address}/*" for address in (NO_REGISTRY, STUCK_REGISTRY)]
    more = {"policies": {"images": registries}, "catalogue": {"enabled": False}, "crds": {"install": False}}
    values = deployment.image_values(images) | more
    if WORKERS.index(WORKER) == 0:
        remove_leftovers(node)
    # Of no release, as a release that is first owns it, and all are.
    node("apply", "--server-side", "--force-conflicts", "-f", str(deployment.CRDS))
    installed = Deployment(node, NAMESPACE)
    installed.uninstall()
    installed.install(values)
    with node.proxy() as url, httpx.Client(base_url=url, timeout=60) as api:
        yield Release(installed, values, api, [0])
    installed.uninstall()


def remove_leftovers(node: Kubectl) -> None:
    """Uninstall the releases of a killed run that had more workers: they would hold GPUs."""
    found = [name.removeprefix("namespace/") for name in node("get", "namespaces", "-o", "name").split()]
    ours = {f"{NAMESPACES}{worker}" for worker in WORKERS}
    for name in found:
        if name.startswith(NAMESPACES) and name not in ours:
            Deployment(node, name).uninstall()


@contextlib.contextmanager
def open_front_end(release: Release) -> Iterator[httpx.Client]:
    """Open an HTTP client for the front end, with its token; it breaks when the pod is replaced.

    What `release` has read from the API server is in its answers.
    """
    with release.deployment.port_forward(f"{release.deployment.release}-api", 80) as url:
        headers = {"Authorization": f"Bearer {release.deployment.token()}"}
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [release.add_seen_version]}
        with httpx.Client(base_url=url, headers=headers, timeout=60, event_hooks=hooks) as client:
            yield client


@pytest.fixture
def http(release: Release) -> Iterator[httpx.Client]:
    """An HTTP client for the front end, with its token."""
    with open_front_end(release) as client:
        yield client
