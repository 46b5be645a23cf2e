"""How often the kernel killed a process of this container for its memory."""

from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
# Version 2 and version 1 of the control groups.
_COUNTERS: Final = ("memory.events", "memory/memory.oom_control")


def memory_kills(cgroups: Path = CGROUPS) -> int:
    """The container's counter; 0 where there is none to read. Only its growth during a run means something."""
    for name in _COUNTERS:
        try:
            lines = (cgroups / name).read_text().splitlines()
        except OSError:
            continue
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    return 0
