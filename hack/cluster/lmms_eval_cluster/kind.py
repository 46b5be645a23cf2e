"""The kind provider: one kind cluster, where a Docker engine answers."""

import json
from pathlib import Path

from .binaries import Binaries
from .console import ClusterError, say
from .settings import Cluster
from .shell import call, succeeds
from .startup import GPU


def available() -> bool:
    """Say whether a Docker engine answers."""
    return succeeds("docker", "info")


class KindProvider:
    """One cluster of kind; it always has a node, which a control plane may have too."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._binaries = Binaries(cluster.cache)
        self._path = cluster.cache / "kind" / f"{cluster.name}.kubeconfig"

    def up(self, *, gpus: int | None) -> None:
        """Create the cluster unless it is there, and set the number of GPUs that its node claims."""
        if not self._exists():
            say(f"Creating the kind cluster {self._cluster.name} (usually 1 min) ...")
            self._kind("create", "cluster", "--wait", "180s")
            gpus = 1 if gpus is None else gpus
        say(f"The kind cluster {self._cluster.name} is up.")
        self._write_kubeconfig()
        if gpus is not None:
            self._set_gpus(gpus)

    def down(self) -> None:
        """Delete the cluster."""
        self._kind("delete", "cluster")
        self._path.unlink(missing_ok=True)

    def status(self) -> bool:
        """Print whether the cluster is there and its API server ready."""
        ready = self._exists() and succeeds(
            self._binaries.found("kubectl"), "--kubeconfig", self._path, "get", "--raw", "/readyz"
        )
        print(f"kind cluster {self._cluster.name}: {'ready' if ready else 'not ready'}")
        return ready

    def kubeconfig(self) -> Path:
        """Give the kubeconfig's path.

        Raises ClusterError if the cluster is not up.
        """
        if not self._exists():
            raise ClusterError(f"The kind cluster {self._cluster.name} is not up: run `python3 hack/cluster up` first.")
        self._write_kubeconfig()
        return self._path

    def load(self, names: list[str]) -> list[str]:
        """Copy images of the Docker engine to the node, under the same names."""
        for name in names:
            say(f"Loading {name} into the kind cluster {self._cluster.name} ...")
            self._kind("load", "docker-image", name)
        return names

    def _exists(self) -> bool:
        return self._cluster.name in call(self._binaries.found("kind"), "get", "clusters").split()

    def _kind(self, *arguments: str) -> str:
        return call(self._binaries.found("kind"), *arguments, "--name", self._cluster.name)

    def _write_kubeconfig(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._path.write_text(self._kind("get", "kubeconfig"))

    def _set_gpus(self, count: int) -> None:
        kubectl = [self._binaries.found("kubectl"), "--kubeconfig", self._path]
        amount = {GPU: str(count)}
        patch = json.dumps({"status": {"capacity": amount, "allocatable": amount}})
        node = call(*kubectl, "get", "nodes", "--output", "name").split()[0]
        call(*kubectl, "patch", node, "--subresource=status", "--type=merge", "--patch", patch)
