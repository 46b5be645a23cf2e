"""Running other programs: one way to call, and one way to fail, with the program's own last words."""

import subprocess
from collections.abc import Sequence

from .console import ClusterError


def call(*command: object, stdin: bytes | None = None) -> str:
    """Run a program to its end and return what it printed.

    Raises ClusterError with its standard error if it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise ClusterError(f"`{' '.join(words)}` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")


def succeeds(*command: object) -> bool:
    """Say whether a program runs and ends well."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def inside(netns: object, command: Sequence[object]) -> list[str]:
    """Give the command that runs another one in a network namespace.

    nsenter and not `ip netns exec`: that one mounts /sys anew and hides the cgroups from what it runs.
    """
    return ["nsenter", f"--net={netns}", *(str(word) for word in command)]
