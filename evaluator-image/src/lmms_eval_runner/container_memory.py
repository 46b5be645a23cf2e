"""Reads from the kernel how much of this container's memory may still be filled, and how often a process was killed for
it.
"""

from pathlib import Path
from typing import Final, NamedTuple

CGROUPS: Final = Path("/sys/fs/cgroup")
MEMINFO: Final = Path("/proc/meminfo")


class _CgroupFiles(NamedTuple):
    """The files of one version of the control groups, and in `stat` the lines of memory that caches files."""

    events: str
    limit: str
    usage: str
    stat: str
    cached: tuple[str, str]


_VERSIONS: Final = (
    _CgroupFiles("memory.events", "memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    _CgroupFiles(
        "memory/memory.oom_control",
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)


def read_memory_kills(cgroups: Path = CGROUPS) -> int:
    """Return the container's counter; 0 where there is none to read. Only its growth during a run means something."""
    for version in _VERSIONS:
        try:
            return _parse_numbers((cgroups / version.events).read_text()).get("oom_kill", 0)
        except OSError:
            continue
    return 0


def read_available_memory(cgroups: Path = CGROUPS, meminfo: Path = MEMINFO) -> int:
    """Return the bytes that are free or cache files, on the machine and below the container's limit; 0 if unknown."""
    try:
        machine = _parse_numbers(meminfo.read_text().replace(":", "")).get("MemAvailable", 0) * 1024
    except OSError:
        return 0
    limits = (_read_room_below_limit(cgroups, version) for version in _VERSIONS)
    return min([machine, *(limit for limit in limits if limit is not None)])


def _read_room_below_limit(cgroups: Path, version: _CgroupFiles) -> int | None:
    """Return the bytes left below the container's limit; None without a limit, and in the version that is not there."""
    try:
        limit, usage = (int((cgroups / name).read_text()) for name in (version.limit, version.usage))
        statistics = _parse_numbers((cgroups / version.stat).read_text())
    except (OSError, ValueError):
        return None
    return limit - usage + sum(statistics.get(name, 0) for name in version.cached)


def _parse_numbers(text: str) -> dict[str, int]:
    """Return lines of a name and a number, as the kernel writes them; others are left out."""
    lines = [line.split() for line in text.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
