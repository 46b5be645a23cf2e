"""Fixtures for tests on a real API server: kubectl, the CRD, a namespace of one's own, a client.

`make test` names the cluster in LMMS_EVAL_TEST_KUBECONFIG; without it the control plane of hack/cluster is brought up.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lmms_eval_core import names
from lmms_eval_core.kube import transport

ROOT = Path(__file__).resolve().parents[2]
CRD_FILE = ROOT / "crds" / f"{names.CRD_NAME}.yaml"


def hack_cluster(*arguments: str) -> str:
    """Runs hack/cluster; the last line that it prints."""
    command = [sys.executable, str(ROOT / "hack" / "cluster"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return (done.stdout.strip().splitlines() or [""])[-1]


class Kubectl(NamedTuple):
    """kubectl on the test cluster."""

    binary: str
    kubeconfig: str

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs to the end, whatever it answers."""
        command = [self.binary, "--kubeconfig", self.kubeconfig, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Its output; fails the test when kubectl fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Path of the test cluster's kubeconfig."""
    named = os.environ.get("LMMS_EVAL_TEST_KUBECONFIG")
    if named:
        return named
    hack_cluster("up", "--control-plane-only")
    return hack_cluster("kubeconfig", "--control-plane-only")


@pytest.fixture(scope="session")
def kubectl(kubeconfig: str) -> Kubectl:
    """kubectl of the cluster's own version."""
    return Kubectl(hack_cluster("tool", "kubectl"), kubeconfig)


@pytest.fixture(scope="session")
def crd(kubectl: Kubectl) -> None:
    """The CRD of this checkout, established."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
    kubectl("wait", "--for=condition=Established", f"crd/{names.CRD_NAME}", "--timeout=30s")


@pytest.fixture
def namespace(kubectl: Kubectl, crd: None) -> Iterator[str]:
    """A namespace for one test."""
    name = f"test-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def client(namespace: str, kubeconfig: str) -> AsyncIterator[transport.Transport]:
    """A client with the administrator's rights, in the test's namespace."""
    connected = await transport.connect(namespace=namespace, kubeconfig=kubeconfig)
    yield connected
    await connected.close()
