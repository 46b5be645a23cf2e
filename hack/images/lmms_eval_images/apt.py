"""What is asked of apt on a Debian machine: missing programs, and the mirrors that this machine uses."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .console import ImageError, say

SUITE = "bookworm"
# hack/cluster takes it too, and may run at the same time: apt itself does not wait for another one that updates its
# lists.
LOCK = Path("/run/lmms-eval-apt.lock")


class AptSource(NamedTuple):
    """One release of Debian at one mirror, as `bookworm-security` at its address."""

    site: str
    release: str


def ensure(programs: Mapping[str, str]) -> None:
    """Install the packages whose programs are missing; `programs` maps a program to its Debian package.

    Raises ImageError, naming them, where that cannot be done.
    """
    missing = sorted({package for name, package in programs.items() if not shutil.which(name)})
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise ImageError(f"Install {', '.join(missing)} (Debian's names), or a Docker engine, and run this again.")
    say(f"Installing {', '.join(missing)} with apt (usually 20 s) ...")
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = _apt("install", *missing) or (_apt("update") and _apt("install", *missing))
    if not installed:
        raise ImageError(f"apt-get could not install {', '.join(missing)}: install them and run this again.")


def sources() -> list[AptSource]:
    """List where this machine gets Debian's `SUITE` and its updates from; empty where it does not."""
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN) $(COMPONENT) $(SITE) $(RELEASE)",
        "Created-By: Packages",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return parse_sources(done.stdout)


def parse_sources(listing: str) -> list[AptSource]:
    """Read the lines `origin component site release` of apt's index files; the suite itself comes first."""
    rows = [line.split() for line in listing.splitlines()]
    found = {
        AptSource(site, release)
        for origin, component, site, release in (row for row in rows if len(row) == 4)
        if origin == "Debian" and component == "main" and release.split("-")[0] == SUITE
    }
    return sorted(found, key=lambda source: (source.release, source.site))


def _apt(verb: str, *packages: str) -> bool:
    command = ["apt-get", "-q", "--yes", "--no-install-recommends", verb, *packages]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
