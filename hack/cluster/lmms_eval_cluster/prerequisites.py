"""What the local provider takes from the distribution: found by the programs themselves, installed with apt where
missing.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from .console import ClusterError, say

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "openssl": "openssl",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
}
CONTROL_PLANE = ("ip", "nsenter", "openssl")
# hack/images takes it too, and may run at the same time: apt itself does not wait for another one that updates its
# lists.
APT_LOCK = Path("/run/lmms-eval-apt.lock")
NETWORK_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))


def ensure(*, control_plane_only: bool) -> None:
    """Install what is missing.

    Raises ClusterError, naming the packages, where there is no apt or it fails.
    """
    missing = missing_packages(control_plane_only=control_plane_only)
    if missing:
        say(f"Installing {', '.join(missing)} with apt (usually 1 min) ...")
        with APT_LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _install(missing)
    still = missing_packages(control_plane_only=control_plane_only)
    if still:
        raise ClusterError(f"The packages {', '.join(still)} are installed and their programs are not on the PATH.")


def missing_packages(*, control_plane_only: bool) -> list[str]:
    """List the Debian packages whose programs are not there."""
    programs = CONTROL_PLANE if control_plane_only else tuple(PACKAGES)
    missing = {PACKAGES[program] for program in programs if not shutil.which(program)}
    if not control_plane_only and network_plugins() is None:
        missing.add("containernetworking-plugins")
    return sorted(missing)


def network_plugins() -> Path | None:
    """Find the folder of the container network plugins."""
    return next((folder for folder in NETWORK_PLUGINS if (folder / "ptp").exists()), None)


def _install(packages: list[str]) -> None:
    if not shutil.which("apt-get"):
        raise ClusterError(
            f"Install {', '.join(packages)} (Debian's names): there is no apt-get here that could do it."
        )
    install = ["install", "--yes", "--no-install-recommends", *packages]
    if not _apt(*install):
        return
    _apt("update")
    if reason := _apt(*install):
        raise ClusterError(f"apt-get could not install {', '.join(packages)}: {reason}")


def _apt(*arguments: str) -> str:
    """Run apt-get and return why it failed; nothing if it did not."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "--quiet", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr.strip() or "no reason given" if done.returncode else ""
