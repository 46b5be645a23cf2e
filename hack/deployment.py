"""This checkout, installed into the cluster of hack/cluster: shared by the demo, the benchmark and the system tests."""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "lmms-eval"
CRDS = ROOT / "crds"
IMAGES = ROOT / "build" / "images.json"
SHIPPED = ("api", "evaluator", "operator", "reporter", "s3")
RELEASE = "lmms-eval"
CRD = "lmmevaluations.lmms-eval.io"
INSTALL_SECONDS = 300


class CommandFailed(Exception):
    """A program that we need answered with an error; its own words are the message."""


def program(folder: str, *arguments: str) -> None:
    """Runs one of our own programs under hack/; it talks to the person by itself."""
    done = subprocess.run([sys.executable, str(ROOT / "hack" / folder), *arguments], check=False)
    if done.returncode:
        raise CommandFailed(f"hack/{folder} {' '.join(arguments)} failed; its own message is above")


def cluster_answer(*arguments: str) -> str:
    """The last line that hack/cluster prints."""
    return cluster_answers(*arguments)[-1]


def cluster_answers(*arguments: str) -> list[str]:
    """The lines that hack/cluster prints."""
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"hack/cluster {' '.join(arguments)} failed; its own message is above")
    return done.stdout.strip().splitlines()


class Kubectl(NamedTuple):
    """kubectl on one cluster."""

    binary: str
    kubeconfig: str

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs to the end, whatever it answers."""
        command = [self.binary, "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Its output; CommandFailed when kubectl fails."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode:
            raise CommandFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Its output as JSON."""
        return json.loads(self(*arguments, "-o", "json"))

    @contextlib.contextmanager
    def proxy(self) -> Iterator[str]:
        """The address of the API server without a password, on this machine alone, for as long as the block lasts."""
        command = [self.binary, "--kubeconfig", self.kubeconfig, "proxy", "--port=0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield f"http://127.0.0.1:{_local_port(process)}"
            finally:
                process.terminate()


def kubectl(*, kubeconfig: str = "") -> Kubectl:
    """kubectl of the cluster's own version, for the cluster that is up."""
    return Kubectl(cluster_answer("tool", "kubectl"), kubeconfig or cluster_answer("kubeconfig"))


def prepare() -> dict[str, str]:
    """A cluster that is up, with our images built and loaded; by their short names, what its pods call them."""
    # From nothing, the cluster is compiling and the images are downloads.
    with ThreadPoolExecutor() as pool:
        for step in [pool.submit(_bring_up), pool.submit(_build_images)]:
            step.result()
    built = json.loads(IMAGES.read_text())
    return load({name: built[name] for name in SHIPPED})


def _bring_up() -> None:
    program("cluster", "up")
    cluster_answers("tool", "kubectl", "helm")


def _build_images() -> None:
    # The biggest download first, as the others need a compiler.
    program("images", "build", "evaluator")
    program("images", "build")


def load(images: dict[str, str]) -> dict[str, str]:
    """Brings local images to the cluster; the same keys, and what its pods call them."""
    return dict(zip(images, cluster_answers("load", *images.values()), strict=True))


def bare_pod(name: str, *, image: str, command: list[str]) -> dict[str, Any]:
    """A pod that runs `command` in an image of ours, confined like an evaluation's, without anything of ours around it.

    It is labelled `bare=<name>`; /tmp is writable, and home.
    """
    container = {
        "name": "evaluator",
        "image": image,
        "command": command,
        "env": [{"name": key, "value": value} for key, value in {"HOME": "/tmp", "HF_HOME": "/tmp/hf"}.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bare": name}}, "spec": spec}


def image_values(references: dict[str, str]) -> dict[str, Any]:
    """The chart's values for our own images; those of tests are no business of it."""
    split = {name: references[name].rsplit(":", 1) for name in SHIPPED}
    return {"images": {name: {"repository": repository, "tag": tag} for name, (repository, tag) in split.items()}}


class Deployment(NamedTuple):
    """A release in its own namespace, under Pod Security `restricted`."""

    kubectl: Kubectl
    namespace: str
    release: str = RELEASE

    def helm(self, *arguments: str) -> str:
        """Helm's output; CommandFailed when it fails."""
        command = [
            cluster_answer("tool", "helm"),
            "--kubeconfig",
            self.kubectl.kubeconfig,
            "--namespace",
            self.namespace,
        ]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def install(self, values: dict[str, Any]) -> str:
        """Installs or upgrades, and waits until everything is ready; Helm's closing notes."""
        self._namespace()
        found = self.kubectl.run("get", "crd", CRD, "-o", "json")
        if not found.returncode:
            # Helm does not take back what others have applied since, be it its own.
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
            if not self._owns(json.loads(found.stdout)):
                values = {**values, "crds": {"install": False}}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            timeout = f"{INSTALL_SECONDS}s"
            notes = self.helm(
                "upgrade", "--install", self.release, str(CHART), "-f", file.name, "--wait", "--timeout", timeout
            )
        # Helm waits for the new pods alone; a port-forward may still find one that is about to end.
        wait_until(lambda: not self._replaced(), seconds=INSTALL_SECONDS, what="end of the pods that were replaced")
        return notes

    def _replaced(self) -> bool:
        """Whether a pod of operator or front end is on its way out."""
        pods = self.json("get", "pods", "-l", "app.kubernetes.io/component in (api,operator)")["items"]
        return any("deletionTimestamp" in pod["metadata"] for pod in pods)

    def uninstall(self) -> None:
        """Takes the release and its namespace away; what it has cluster-wide as well, but for the CRD."""
        if self.release in self.helm("list", "--short").split():
            self.helm("uninstall", self.release, "--wait")
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")

    def _namespace(self) -> None:
        if self.kubectl.run("get", "namespace", self.namespace).returncode:
            self.kubectl("create", "namespace", self.namespace)
        self.kubectl(
            "label", "--overwrite", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted"
        )

    def _owns(self, crd: Any) -> bool:
        """Whether the CRD belongs to this release, as it does to the first one of a cluster."""
        annotations = crd["metadata"].get("annotations", {})
        return bool(annotations.get("meta.helm.sh/release-namespace") == self.namespace)

    def token(self) -> str:
        """The front end's bearer token."""
        template = "{{.data.token | base64decode}}"
        return self("get", "secret", f"{self.release}-token", "-o", f"go-template={template}")

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """kubectl in the release's namespace."""
        return self.kubectl("--namespace", self.namespace, *arguments, stdin=stdin)

    def json(self, *arguments: str) -> Any:
        """kubectl in the release's namespace, as JSON."""
        return self.kubectl.json("--namespace", self.namespace, *arguments)

    @contextlib.contextmanager
    def port_forward(self, service: str, port: int) -> Iterator[str]:
        """The service's address on this machine, for as long as the block lasts."""
        command = [self.kubectl.binary, "--kubeconfig", self.kubectl.kubeconfig, "--namespace", self.namespace]
        command += ["port-forward", f"service/{service}", f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                yield f"http://127.0.0.1:{_local_port(process)}"
            finally:
                process.terminate()


def _local_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.search(r"127\.0\.0\.1:(\d+)", line)
    if match is None:
        raise CommandFailed(f"kubectl says of its port: {line.strip()}")
    return int(match[1])


def wait_until(condition: Any, *, seconds: float, what: str, every: float = 0.5) -> Any:
    """The first true answer of `condition`; CommandFailed when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(every)
    raise CommandFailed(f"waited {seconds:.0f} s in vain for {what}")
