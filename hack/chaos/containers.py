"""The processes behind pods of this machine's cluster, found by what containerd keeps of each container on disk.

Needs no API server and no kubelet, which may both be dead. A process is killed by its id, and only if the kernel, too, says
that it is in the container: ids are used again.
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


class Container(NamedTuple):
    """A container that has a first process."""

    name: str
    pod: str
    pid: int

    @property
    def shims(self) -> list[int]:
        """The process that looks after the pod, which is the parent of each container's first one; none if either is gone."""
        return [pid for pid in map(int, _stat(self.pid)[1:2]) if is_shim(pid)]

    @property
    def children(self) -> list[int]:
        """What the first process has started."""
        with suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []


def containers(state: Path, namespace: str, name: str) -> list[Container]:
    """Those of this name in a namespace, in the order of their pods' names; `state` is the cluster's folder."""
    return sorted(found for found in _all(state, namespace) if found.name == name)


def _all(state: Path, namespace: str) -> Iterator[Container]:
    for folder in (state / TASKS).glob("*"):
        # Both files come and go with the container.
        with suppress(FileNotFoundError, ValueError):
            annotations = json.loads((folder / "config.json").read_text())["annotations"]
            pid = int((folder / "init.pid").read_text())
            if annotations["io.kubernetes.cri.sandbox-namespace"] == namespace and _lives_in(pid, folder.name):
                name = annotations.get("io.kubernetes.cri.container-name", "")
                yield Container(name, annotations["io.kubernetes.cri.sandbox-name"], pid)


def send(pid: int, number: signal.Signals) -> bool:
    """Whether the process was there to get the signal."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _lives_in(pid: int, container: str) -> bool:
    """A zombie is in no cgroup of its container any more."""
    with suppress(OSError):
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    return False


def _stat(pid: int) -> list[str]:
    """State, parent and the rest; nothing for a process that is gone. The name before them may hold any character."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
