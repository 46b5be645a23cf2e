"""Clusters of the local provider, lived through: brought up, killed in every way, brought up again, taken away without
a trace.

Their names are the tests' own: whatever cluster a person uses on this machine is not touched.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import provided
import pytest
from lmms_eval_cluster import components, images, leftovers, processes
from lmms_eval_cluster.settings import Cluster, cluster_from
from lmms_eval_cluster.shell import inside

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="the local provider needs root"),
    pytest.mark.timeout(600),
]

PROGRAM = Path(__file__).resolve().parents[2] / "hack" / "cluster"
PROBE = "localhost/lmms-eval-cluster/probe:test"
REACH_SERVICE = "import socket; socket.create_connection(('10.96.0.1', 443), timeout=5)"
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}


class Machine:
    """The cluster command with a cluster of its own, as a person would type it."""

    def __init__(self, name: str, *, control_plane_only: bool = False) -> None:
        ours = {"LMMS_EVAL_CLUSTER": name, "LMMS_EVAL_CLUSTER_PROVIDER": "local"}
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("LMMS_EVAL_")} | ours
        self.cluster: Cluster = cluster_from(self.environ, control_plane_only=control_plane_only)
        self._options = ["--control-plane-only"] if control_plane_only else []

    def start(self, command: str, *arguments: str) -> "subprocess.Popen[str]":
        words = [sys.executable, str(PROGRAM), command, *self._options, *arguments]
        return subprocess.Popen(words, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, command: str, *arguments: str) -> str:
        with self.start(command, *arguments) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        return out + err

    def kubectl(self, *arguments: str, stdin: object = None) -> str:
        words = [tool("kubectl"), "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        done = subprocess.run(words, input=json.dumps(stdin), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_everything(self) -> None:
        killed = leftovers.all_processes(self.cluster)
        assert len(killed) >= len(components.expected(self.cluster))
        processes.kill(killed)

    def component_ids(self) -> dict[str, int]:
        return processes.components_running(self.cluster)


def tool(name: str) -> str:
    return subprocess.run(
        [sys.executable, str(PROGRAM), "tool", name], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(autouse=True, scope="module")
def system_tier() -> None:
    """These clusters are the tests' own, but take a cluster's programs and minutes."""
    provided.require_variable(provided.IMAGES, "to bring up clusters", "system")


@pytest.fixture
def control_plane() -> Iterator[Machine]:
    machine = Machine("lmms-eval-test-life", control_plane_only=True)
    machine("down")
    yield machine
    machine("down")
    assert leftovers.found(machine.cluster) == []


@pytest.fixture
def whole() -> Iterator[Machine]:
    machine = Machine("lmms-eval-test-life")
    machine("down")
    yield machine
    machine("down")
    assert leftovers.found(machine.cluster) == []


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of kubectl alone: it can use the API server's name, a token and a volume."""
    folder = tmp_path_factory.mktemp("probe")
    shutil.copy(tool("kubectl"), folder / "kubectl")
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY kubectl /kubectl\nENTRYPOINT ["/kubectl"]\n')
    build = ["buildah", "bud", "--quiet", "--isolation=chroot", "--timestamp=0", f"--tag={PROBE}", str(folder)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    yield PROBE
    subprocess.run(["buildah", "rmi", "--force", PROBE], check=True, stdout=subprocess.DEVNULL)


def pod(image: str, *, name: str, restart: str = "Never") -> dict[str, object]:
    """A pod under the restricted profile that asks for a GPU, writes to a volume and finds the API
    server by its name.
    """
    locked = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["auth", "whoami", "--output=json", "--profile=heap", "--profile-output=/data/profile"],
        "env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "kubernetes.default.svc"}],
        "securityContext": locked,
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    spec = {"restartPolicy": restart, "securityContext": user, "containers": [container], "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def run_probe(machine: Machine, image: str, name: str) -> str:
    """Run the probe to its end and return what it printed."""
    machine.kubectl("label", "--overwrite", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted")
    machine.kubectl("apply", "--filename=-", stdin=CLAIM)
    machine.kubectl("apply", "--filename=-", stdin=pod(image, name=name))
    machine.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
    return machine.kubectl("logs", name)


def test_a_control_plane_survives_the_death_of_all_its_processes(control_plane: Machine) -> None:
    control_plane("up")
    control_plane.kubectl("create", "namespace", "before")
    control_plane.kill_everything()
    control_plane("up")
    assert "before" not in control_plane.kubectl("get", "namespaces")
    assert set(control_plane.component_ids()) == set(components.CONTROL_PLANE)


def test_a_control_plane_that_is_up_stays_as_it_is(control_plane: Machine) -> None:
    control_plane("up")
    before = control_plane.component_ids()
    assert "Starting the cluster" not in control_plane("up")
    assert control_plane.component_ids() == before


def test_two_at_once_make_one_cluster(control_plane: Machine) -> None:
    both = [control_plane.start("up"), control_plane.start("up")]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Starting the cluster" in text for text in said) == 1
    assert sum("Waiting for another command" in text for text in said) == 1
    assert len(processes.running(control_plane.cluster)) == len(components.CONTROL_PLANE)


def test_a_start_that_was_killed_is_started_over(control_plane: Machine) -> None:
    with control_plane.start("up") as process:
        while "kube-apiserver" not in control_plane.component_ids():
            assert process.poll() is None
        process.kill()
    assert "Starting the cluster" in control_plane("up")
    control_plane.kubectl("get", "--raw", "/readyz")


def test_an_outage_of_one_component_loses_nothing(control_plane: Machine) -> None:
    control_plane("up")
    control_plane.kubectl("create", "namespace", "kept")
    control_plane("stop", "kube-apiserver")
    assert "kube-apiserver" not in control_plane.component_ids()
    control_plane("up")
    assert "kept" in control_plane.kubectl("get", "namespaces")


def test_a_node_runs_pods_before_and_after_the_death_of_all_its_processes(whole: Machine, probe: str) -> None:
    whole("up", "--gpus", "2")
    whole("load", probe)
    subprocess.run(inside(whole.cluster.netns, [sys.executable, "-c", REACH_SERVICE]), check=True)
    assert "system:serviceaccount:default:default" in run_probe(whole, probe, "first")
    whole.kubectl("delete", "pod", "first", "--wait=false")
    staying = pod(probe, name="staying", restart="Always")
    whole.kubectl("apply", "--filename=-", stdin=staying)
    whole.kubectl("wait", "pod/staying", "--for=jsonpath={.status.phase}=Running", "--timeout=180s")

    whole.kill_everything()
    whole("up")

    assert whole.kubectl("get", "pods").strip() == ""
    whole("load", probe)
    assert "on the node already" in whole("load", probe)
    identity = json.loads(run_probe(whole, probe, "second"))["status"]["userInfo"]
    assert identity["extra"]["authentication.kubernetes.io/pod-name"] == ["second"]
    gpus = whole.kubectl("get", "nodes", "--output=jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}")
    assert gpus == "1"


def test_a_volume_goes_with_its_claim(whole: Machine, probe: str) -> None:
    whole("up")
    whole("load", probe)
    run_probe(whole, probe, "writer")
    [folder] = (whole.cluster.state / "volumes").iterdir()
    assert (folder / "profile").exists()
    whole.kubectl("delete", "pod/writer", "pvc/data")
    deadline = time.monotonic() + 120
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_stores_share_an_image_and_a_copy_runs_as_well(whole: Machine, probe: str) -> None:
    whole("up")
    whole("load", probe)
    [shared] = kubectl_files(whole)
    assert shared.stat().st_nlink == 2
    run_probe(whole, probe, "linked")
    whole("down")
    whole("up")
    images.Images(whole.cluster).copy(probe)
    [copied] = kubectl_files(whole)
    assert copied.stat().st_nlink == 1
    run_probe(whole, probe, "copied")


def kubectl_files(machine: Machine) -> list[Path]:
    """Find the probe's program among the snapshots of the node."""
    return list((machine.cluster.state / "containerd" / "root").glob("*.overlayfs/snapshots/*/fs/kubectl"))
