"""The chart, rendered by the pinned Helm, and its policies in force on a real API server."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import namespaces
import pytest
import yaml
from deployment import CHART, CommandFailed, Kubectl, wait_until
from provided import find_program

Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """Runs Helm without a cluster; its output."""
    binary = find_program("helm")

    def run(*arguments: str) -> str:
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(done.stderr)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Objects of the chart for some values; raises CommandFailed."""
    folder = tmp_path_factory.mktemp("values")

    def run(values: Object | None = None, *, namespace: str = "team-a", release: str = "lmms-eval") -> list[Object]:
        file = folder / "values.json"
        file.write_text(json.dumps(values or {}))
        text = helm("template", release, str(CHART), "--namespace", namespace, "-f", str(file))
        return [item for item in yaml.safe_load_all(text) if item]

    return run


POLICY_KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
CLUSTER_WIDE = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


class Guarded(NamedTuple):
    """A namespace where the chart's policies, accounts and rights are in force, and nothing runs."""

    kubectl: Kubectl
    namespace: str
    folder: Path

    def apply(self, items: list[Object]) -> None:
        """kubectl apply."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.kubectl("-n", self.namespace, "apply", "--server-side", "-f", "-", stdin=text)

    def kubeconfig(self, account: str, *, pod: Object | None = None) -> str:
        """A kubeconfig with the account's token, which names the pod that it was made for, as the kubelet's do."""
        bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod['metadata']['name']}"] if pod else []
        bound += [f"--bound-object-uid={pod['metadata']['uid']}"] if pod else []
        token = self.kubectl("-n", self.namespace, "create", "token", account, *bound).strip()
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        view["users"] = [{"name": view["contexts"][0]["context"]["user"], "user": {"token": token}}]
        file = self.folder / f"{account}-{pod['metadata']['name'] if pod else 'unbound'}.json"
        file.write_text(json.dumps(view))
        return str(file)

    def pod(self, name: str, account: str) -> Object:
        """A pod that waits for a node for ever."""
        spec: Object = {"serviceAccountName": account, "containers": [{"name": "a", "image": "a"}]}
        self.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}])
        found: Object = self.kubectl.json("-n", self.namespace, "get", "pod", name)
        return found


@pytest.fixture(scope="session")
def guard(
    kubectl: Kubectl, crd: None, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Guarded]]:
    """Makes a namespace that the policies of some values guard, or guards the one that is named."""
    made: list[tuple[str, list[Object]]] = []

    def make(values: Object, namespace: str = "") -> Guarded:
        namespace = namespace or namespaces.create_namespace(kubectl)
        items = [item for item in render(values, namespace=namespace) if item["kind"] in POLICY_KINDS]
        made.append((namespace, items))
        guarded = Guarded(kubectl, namespace, tmp_path_factory.mktemp("kubeconfig"))
        guarded.apply(items)
        # That of pods which name none comes a moment later, and without it they are as forbidden as by a policy.
        account = ("--namespace", namespace, "get", "serviceaccount", "default")
        wait_until(lambda: not kubectl.run(*account).returncode, seconds=60, what="the account default", every=0.05)
        return guarded

    yield make
    for namespace, items in made:
        for item in items:
            if item["kind"] in CLUSTER_WIDE:
                kubectl("delete", item["kind"], item["metadata"]["name"], "--wait=false", "--ignore-not-found")
        kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
