"""What a cluster leaves in the kernel and on the disk, and how it is taken away: processes, mounts, cgroups, files.

Everything is found by the cluster's own mark, folder or identity, never by a program's name, so that it works after any
kind of death and never touches anything else.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from . import network, processes
from .console import ClusterError
from .settings import Cluster
from .shell import call

CGROUPS = Path("/sys/fs/cgroup")
SHORTCUTS_TO_LOGS = Path("/var/log/containers")
NETWORK_RESULTS = Path("/var/lib/cni/results")


def remove(cluster: Cluster) -> None:
    """Take everything of a cluster away, whatever state it is in."""
    end_processes(cluster)
    for mount in mounts_below(cluster.state, Path("/proc/self/mountinfo").read_text()):
        call("umount", "--lazy", mount)
    for folder in cgroups(cluster):
        remove_cgroup(folder)
    network.remove(cluster)
    _remove_files_elsewhere(cluster)
    if cluster.state.exists():
        shutil.rmtree(cluster.state)


def found(cluster: Cluster) -> list[str]:
    """Name everything of a cluster that is there, for people; empty after `remove`."""
    mounts = mounts_below(cluster.state, Path("/proc/self/mountinfo").read_text())
    links = [Path("/sys/class/net") / cluster.identity, cluster.netns, cluster.state]
    return [
        *(f"process {pid}" for pid in all_processes(cluster)),
        *(f"mount {mount}" for mount in mounts),
        *(f"cgroup {folder}" for folder in cgroups(cluster)),
        *(str(path) for path in [*links, *_files_elsewhere(cluster)] if os.path.lexists(path)),
    ]


def all_processes(cluster: Cluster) -> set[int]:
    """Find the components, what they started, and whatever runs in the pods' cgroups."""
    in_pods = {pid for folder in cgroups(cluster) for pid in cgroup_processes(folder)}
    return in_pods | set(processes.running(cluster))


def end_processes(cluster: Cluster, seconds: float = 20) -> None:
    """Kill until nothing is left: a shim may start one more process while its cluster dies.

    Raises ClusterError if a process survives.
    """
    deadline = time.monotonic() + seconds
    while left := all_processes(cluster):
        if time.monotonic() > deadline:
            raise ClusterError(f"The processes {sorted(left)} of the cluster {cluster.name} do not end after SIGKILL.")
        processes.kill(left)
        time.sleep(0.05)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Read from the text of /proc/self/mountinfo the mount points in a folder, the last mounted first."""
    points = [decode_octal(line.split(" ", 5)[4]) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]


def decode_octal(text: str) -> str:
    r"""Undo the kernel's escapes of blanks and backslashes in paths, such as `\040`."""
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def cgroups(cluster: Cluster) -> list[Path]:
    """Find the cluster's cgroups: one in each hierarchy of version 1, one in all of version 2."""
    return [folder for folder in cgroup_places(cluster) if folder.exists()]


def cgroup_places(cluster: Cluster) -> list[Path]:
    """List where the cluster's cgroups belong."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / cluster.identity]
    hierarchies = {folder.resolve() for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").exists()}
    return [hierarchy / cluster.identity for hierarchy in sorted(hierarchies)]


def create_cgroups(cluster: Cluster) -> None:
    """Make the cgroups below which the kubelet puts the pods."""
    unified = CGROUPS / "cgroup.controllers"
    if unified.exists():
        enabled = " ".join(f"+{controller}" for controller in unified.read_text().split())
        (CGROUPS / "cgroup.subtree_control").write_text(enabled)
    for folder in cgroup_places(cluster):
        folder.mkdir(exist_ok=True)


def cgroup_processes(folder: Path) -> Iterator[int]:
    """List the processes in a cgroup and in those below it."""
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            yield from (int(line) for line in Path(path, "cgroup.procs").read_text().split())


def remove_cgroup(folder: Path, seconds: float = 5) -> None:
    """Remove a cgroup and those below it; the kernel may hold one for a moment after its last process ended."""
    deadline = time.monotonic() + seconds
    while folder.exists():
        for path, _, _ in os.walk(folder, topdown=False):
            with suppress(OSError):
                os.rmdir(path)
        if time.monotonic() > deadline:
            raise ClusterError(f"The cgroup {folder} cannot be removed: a process that is not the cluster's is in it.")
        time.sleep(0.02)


def _files_elsewhere(cluster: Cluster) -> Iterator[Path]:
    """Find what the kubelet, the network plugins and the shims write at places that no setting moves."""
    if SHORTCUTS_TO_LOGS.exists():
        for link in SHORTCUTS_TO_LOGS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(cluster.state):
                yield link
    for sandbox in (cluster.state / "containerd" / "root").glob("*.cri/sandboxes/*"):
        yield from NETWORK_RESULTS.glob(f"*-{sandbox.name}-*")
    for address in (cluster.state / "containerd" / "state").glob("*.task/*/*/address"):
        yield Path(address.read_text().removeprefix("unix://"))


def _remove_files_elsewhere(cluster: Cluster) -> None:
    for path in _files_elsewhere(cluster):
        path.unlink(missing_ok=True)
