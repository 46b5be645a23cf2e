"""The existing provider: a cluster that somebody else runs; it is used, and never brought up, changed or down from
here.
"""

from pathlib import Path

from .binaries import Binaries
from .console import ClusterError, say
from .images import parse
from .settings import Cluster
from .shell import call, succeeds


class ExistingProvider:
    """The cluster that LMMS_EVAL_KUBECONFIG names; its images come from the registry that LMMS_EVAL_REGISTRY names."""

    def __init__(self, cluster: Cluster, kubeconfig: Path, registry: str) -> None:
        self._binaries = Binaries(cluster.cache)
        self._kubeconfig = kubeconfig
        self._registry = registry

    def up(self, *, gpus: int | None) -> None:
        """Check that the cluster answers and say what will be touched; its GPUs are those it has."""
        del gpus
        self._kubectl("get", "--raw", "/readyz")
        say(
            f"Using the cluster that LMMS_EVAL_KUBECONFIG names ({self._kubectl('config', 'current-context').strip()})."
        )
        say("Touched are the namespaces that the demo and the tests make for themselves, and the chart's own")
        say("resource definition and admission policies; nodes and everything else stay as they are.")

    def down(self) -> None:
        """Leave the cluster alone, and say so."""
        say("The cluster that LMMS_EVAL_KUBECONFIG names is not ours to take down; nothing was done.")

    def status(self) -> bool:
        """Print whether the API server is ready."""
        ready = succeeds(self._binaries.found("kubectl"), "--kubeconfig", self._kubeconfig, "get", "--raw", "/readyz")
        print(f"{self._kubeconfig}: {'ready' if ready else 'not ready'}")
        return ready

    def kubeconfig(self) -> Path:
        """Give the path the environment gave."""
        return self._kubeconfig

    def load(self, names: list[str]) -> list[str]:
        """Push images to the registry, whose name is then the first part of theirs.

        Raises ClusterError if no registry is named.
        """
        if not self._registry:
            raise ClusterError(
                "Set LMMS_EVAL_REGISTRY to a registry that you can push to and the cluster can pull from."
            )
        return [self._push(name) for name in names]

    def _push(self, name: str) -> str:
        reference = parse(name)
        target = f"{self._registry}/{reference.path}:{reference.tag}"
        say(f"Pushing {name} as {target} ...")
        if succeeds("docker", "image", "inspect", name):
            call("docker", "tag", name, target)
            call("docker", "push", target)
        else:
            call("buildah", "push", name, f"docker://{target}")
        return target

    def _kubectl(self, *arguments: str) -> str:
        return call(self._binaries.found("kubectl"), "--kubeconfig", self._kubeconfig, *arguments)
