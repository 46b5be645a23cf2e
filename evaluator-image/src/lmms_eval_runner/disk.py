"""Which volumes of the container were full, as statvfs says, and what to do about each.

The text of an exception seldom names the volume, and what filled it is often deleted by the time that anybody looks.
"""

import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

MOUNTS: Final = Path("/proc/self/mountinfo")
INTERVAL_SECONDS: Final = 0.5
# What is left when a write of a usual size has failed.
FULL_BYTES: Final = 1024 * 1024
# A volume that was full so shortly before the end is the likely cause of an end without a word.
RECENT_SECONDS: Final = 5.0

SHARED_MEMORY: Final = "/dev/shm"
_RAISE_STORAGE: Final = "raise spec.resources.ephemeralStorage, so that a node with the room is chosen"
# By mount point, as the operator makes the pod; the volumes of the spec are all others.
REMEDIES: Final = {
    "/tmp": _RAISE_STORAGE,
    "/run/lmms-eval": _RAISE_STORAGE,
    "/cache": "free space in the cache, or enlarge its claim; the chart's cache.size is the size of a new one",
    SHARED_MEMORY: "raise spec.resources.sharedMemory",
}
# What stands for spaces, tabs, line ends and backslashes in mountinfo.
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")
_PSEUDO: Final = frozenset({"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs", "securityfs", "bpf"})
# Parts of /proc, /sys and /dev that a container runtime covers by mounts of its own.
_NOT_DATA: Final = ("/proc/", "/sys/", "/dev/")


class FullVolumes(NamedTuple):
    """Mount points of volumes that were full during the run; `at_end` are those that were so shortly before its end."""

    ever: tuple[str, ...] = ()
    at_end: tuple[str, ...] = ()


NONE_SEEN: Final = FullVolumes()


class DiskWatch:
    """Looks at the writable volumes from time to time, in a thread: an NFS server that is away may not
    hold up the run.
    """

    def __init__(self, mount_points: Iterable[str]) -> None:
        self._mount_points = tuple(mount_points)
        self._seen: dict[str, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll_until_ended, name="disk-watch", daemon=True)

    def __enter__(self) -> "DiskWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    def list_full(self) -> FullVolumes:
        """Return the volumes that were seen to be full so far."""
        now, seen = time.monotonic(), dict(self._seen)
        return FullVolumes(tuple(seen), tuple(path for path, at in seen.items() if now - at < RECENT_SECONDS))

    def _poll_until_ended(self) -> None:
        while not self._ended.is_set():
            for path in self._mount_points:
                if is_full(path):
                    self._seen[path] = time.monotonic()
            self._ended.wait(INTERVAL_SECONDS)


def is_full(path: str) -> bool:
    """Return whether the volume at `path` has no room left, or no names; False where nobody can tell."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < FULL_BYTES or (found.f_files > 0 and found.f_favail == 0)


def list_writable_mounts(mounts: Path = MOUNTS) -> list[str]:
    """Return the mount points of the volumes that this container may write to."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    found = dict.fromkeys(path for line in lines if (path := _parse_writable_mount(line.split(" "))))
    # The runtime mounts files too, such as /etc/hosts, from the node's own disk.
    return [path for path in found if os.path.isdir(path)]


def find_volume(path: str, mount_points: Iterable[str]) -> str:
    """Return the innermost of `mount_points` that `path` is below; empty where there is none."""
    below = (point for point in mount_points if path == point or path.startswith(f"{point.rstrip('/')}/"))
    return max(below, key=len, default="")


def suggest_remedy(mount_point: str) -> str:
    """Return what to do when the volume at a mount point is full."""
    return REMEDIES.get(mount_point, "free space in that volume of spec.volumes, or enlarge its claim")


def _parse_writable_mount(fields: list[str]) -> str:
    """Return the mount point in a line of mountinfo; empty for one that is read-only or holds no files."""
    if len(fields) < 10 or "-" not in fields:
        return ""
    path, options, kind = fields[4], fields[5].split(","), fields[fields.index("-") + 1]
    path = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), path)
    is_data = path == SHARED_MEMORY or not f"{path}/".startswith(_NOT_DATA)
    return path if "rw" in options and kind not in _PSEUDO and is_data else ""
