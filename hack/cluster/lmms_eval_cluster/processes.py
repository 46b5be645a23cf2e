"""The processes of a cluster: started so that they outlive the caller, found again by a mark in their environment.

The mark is inherited by what they start (containerd's shims), and is true whatever was killed, in whatever order: no
file of process ids can be stale, and no process of somebody else can be taken for ours.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .console import ClusterError
from .settings import Cluster
from .shell import inside

OWNER = "LMMS_EVAL_CLUSTER_OWNER"
COMPONENT = "LMMS_EVAL_CLUSTER_COMPONENT"
PROC = Path("/proc")
BECOMING_SECONDS = 0.5


def start(cluster: Cluster, component: str, command: Sequence[object]) -> None:
    """Start a process in the cluster's network, in a session of its own, with its log below the state."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cluster.state),
        OWNER: str(cluster.state),
        COMPONENT: component,
    }
    with (cluster.logs / f"{component}.log").open("ab") as log:
        subprocess.Popen(
            inside(cluster.netns, command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cluster.state,
            start_new_session=True,
        )


def running(cluster: Cluster, proc: Path = PROC) -> dict[int, str]:
    """Find every living process that carries the cluster's mark: process id to component.

    Looked for twice, as a process that is just becoming another program has no environment for a moment.
    """
    first = _marked(cluster, proc)
    time.sleep(0.02)
    return first | _marked(cluster, proc)


def _marked(cluster: Cluster, proc: Path) -> dict[int, str]:
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            environment = read_environment(folder)
            if environment.get(OWNER) == str(cluster.state):
                found[int(folder.name)] = environment.get(COMPONENT, "")
    return found


def read_environment(folder: Path) -> dict[str, str]:
    """Read the environment a process was started with from its folder in /proc; empty if it ended."""
    try:
        text = (folder / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def kill(pids: Iterable[int]) -> None:
    """Send SIGKILL to processes that may have ended meanwhile."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_shim(pid: int) -> bool:
    """Say whether a process belongs to a container rather than to a component: a shim inherits containerd's mark."""
    with suppress(OSError):
        return (PROC / str(pid) / "comm").read_text().startswith("containerd-shim")
    return False


def components_running(cluster: Cluster) -> dict[str, int]:
    """Find the components that live: name to process id."""
    return {name: pid for pid, name in sorted(running(cluster).items(), reverse=True) if not is_shim(pid)}


def require(cluster: Cluster, components: Iterable[str]) -> None:
    """Check that components still run.

    Raises ClusterError with the last words of one that ended.
    """
    wanted = set(components)
    living = components_running(cluster)
    if not wanted <= living.keys():
        # On a busy machine a process may be for longer in the middle of becoming another program.
        time.sleep(BECOMING_SECONDS)
        living |= components_running(cluster)
    for component in sorted(wanted):
        if component not in living:
            raise ClusterError(
                f"{component} ended unexpectedly; the end of "
                f"{cluster.logs}/{component}.log:\n{tail(cluster, component)}"
            )


def tail(cluster: Cluster, component: str, lines: int = 12) -> str:
    """Give the last lines of a component's log."""
    with suppress(FileNotFoundError):
        return "\n".join((cluster.logs / f"{component}.log").read_text(errors="replace").splitlines()[-lines:])
    return "(no log)"
