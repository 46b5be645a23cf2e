"""The processes behind the pods of this machine's cluster, read from containerd's state on disk.

This needs no API server and no kubelet, which may both be stopped. A process id counts only if the kernel, too, reports
that the process belongs to the container, because process ids are reused.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lmms_eval_cluster.processes import is_shim

TASKS = Path("containerd/state/io.containerd.runtime.v2.task/k8s.io")


class NodeContainer(NamedTuple):
    """A container on this machine; `pid` is its first process."""

    name: str
    pod: str
    pid: int

    @property
    def shims(self) -> list[int]:
        """The pod's containerd shim, which is the parent of each container's first process; empty if either is gone."""
        return [pid for pid in map(int, _read_stat(self.pid)[1:2]) if is_shim(pid)]

    @property
    def children(self) -> list[int]:
        """The children of the first process."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []


def list_containers(cluster_folder: Path, namespace: str, name: str) -> list[NodeContainer]:
    """Return the containers of this name in a namespace, in the order of their pods' names."""
    return sorted(found for found in _read_containers(cluster_folder, namespace) if found.name == name)


def _read_containers(cluster_folder: Path, namespace: str) -> Iterator[NodeContainer]:
    for folder in (cluster_folder / TASKS).glob("*"):
        # Both files appear and disappear with the container.
        with suppress(FileNotFoundError, ValueError):
            annotations = json.loads((folder / "config.json").read_text())["annotations"]
            pid = int((folder / "init.pid").read_text())
            if annotations["io.kubernetes.cri.sandbox-namespace"] == namespace and _is_in_container(pid, folder.name):
                name = annotations.get("io.kubernetes.cri.container-name", "")
                yield NodeContainer(name, annotations["io.kubernetes.cri.sandbox-name"], pid)


def send_signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal; return whether the process existed."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _is_in_container(pid: int, container: str) -> bool:
    """Whether the process is in the container's cgroup; a zombie is in none."""
    with suppress(OSError):
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    return False


def _read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state and the parent on; empty if the process is gone."""
    try:
        # The command name before them may hold any character, ")" among them.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
