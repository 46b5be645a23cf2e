"""What the kernel says of this container's memory: how much may still be filled, and how often a process was killed for it."""

from pathlib import Path
from typing import Final, NamedTuple

CGROUPS: Final = Path("/sys/fs/cgroup")
MEMINFO: Final = Path("/proc/meminfo")


class _Version(NamedTuple):
    """The files of one version of the control groups, and in `stat` the lines of memory that caches files."""

    events: str
    limit: str
    usage: str
    stat: str
    cached: tuple[str, str]


_VERSIONS: Final = (
    _Version("memory.events", "memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    _Version(
        "memory/memory.oom_control",
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)


def memory_kills(cgroups: Path = CGROUPS) -> int:
    """The container's counter; 0 where there is none to read. Only its growth during a run means something."""
    for version in _VERSIONS:
        try:
            return _numbers((cgroups / version.events).read_text()).get("oom_kill", 0)
        except OSError:
            continue
    return 0


def available_memory(cgroups: Path = CGROUPS, meminfo: Path = MEMINFO) -> int:
    """Bytes that are free or hold copies of files, on the machine and below the container's limit; 0 if nobody knows."""
    try:
        machine = _numbers(meminfo.read_text().replace(":", "")).get("MemAvailable", 0) * 1024
    except OSError:
        return 0
    limits = (_below_limit(cgroups, version) for version in _VERSIONS)
    return min([machine, *(limit for limit in limits if limit is not None)])


def _below_limit(cgroups: Path, version: _Version) -> int | None:
    """None without a limit, and in the version that is not there."""
    try:
        limit, usage = (int((cgroups / name).read_text()) for name in (version.limit, version.usage))
        statistics = _numbers((cgroups / version.stat).read_text())
    except (OSError, ValueError):
        return None
    return limit - usage + sum(statistics.get(name, 0) for name in version.cached)


def _numbers(text: str) -> dict[str, int]:
    """Lines of a name and a number, as the kernel writes them; others are left out."""
    lines = [line.split() for line in text.splitlines()]
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
