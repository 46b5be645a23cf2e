"""Where a cluster lives: its name, its folders and the short identity from which its kernel objects are named.

Read from the environment once, by the command line; every other module gets a `Cluster`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .console import ClusterError

NODE = "local-node"
SERVICE_RANGE = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
POD_RANGE = "10.244.0.0/24"
STORAGE_CLASS = "standard"
API_PORT = 6443


@dataclass(frozen=True)
class Cluster:
    """One cluster of the local provider, up or not.

    `control_plane_only` clusters have an API server and no node; they have a name, and so a place, of their own.
    """

    name: str
    state: Path
    cache: Path
    control_plane_only: bool = False

    @property
    def identity(self) -> str:
        """Name the network namespace, the veth pair and the cgroups; short, as a link's name has 15 letters at most."""
        return "lmms" + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def netns(self) -> Path:
        """Give the path by which the cluster's network namespace is entered."""
        return Path("/run/netns") / self.identity

    @property
    def lock(self) -> Path:
        """Give the file that is locked while the cluster is changed; outside the state, which comes and goes."""
        return Path("/run") / f"{self.identity}.lock"

    @property
    def kubeconfig(self) -> Path:
        """Give the administrator's kubeconfig, readable from the host."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Give the folder of keys and certificates."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """Give the folder with one log for each process."""
        return self.state / "log"

    @property
    def containerd_socket(self) -> Path:
        """Give the socket of the container runtime."""
        return self.state / "containerd" / "containerd.sock"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Give the folder of everything that may be deleted at any time and is then made again."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lmms-eval-k8s"


def cluster_from(environ: Mapping[str, str], *, control_plane_only: bool) -> Cluster:
    """Find the cluster that the environment names.

    Raises ClusterError for a name that cannot be a folder's and a host's name.
    """
    name = environ.get("LMMS_EVAL_CLUSTER") or "lmms-eval"
    if control_plane_only:
        name += "-control-plane"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?", name):
        raise ClusterError(
            f"LMMS_EVAL_CLUSTER={name!r} is no cluster name: use up to 50 lower-case letters, digits and dashes."
        )
    base = environ.get("LMMS_EVAL_CLUSTER_STATE") or "/var/lib/lmms-eval-cluster"
    return Cluster(name, Path(base).resolve() / name, cache_folder(environ), control_plane_only)
