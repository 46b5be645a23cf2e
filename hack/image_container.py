"""Runs a command in a container of a built image, with docker or buildah: no cluster is needed."""

import contextlib
import functools
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# Groups of the first version: buildah leaves the processes of a container in the group of its own.
CGROUPS = Path("/sys/fs/cgroup/cpu")
JOIN = '{ echo $$ > "$0"; } 2> /dev/null; exec "$@"'


class Mount(NamedTuple):
    """A folder of this machine in the container."""

    folder: Path
    at: str
    writable: bool = False

    def __str__(self) -> str:
        return f"{self.folder}:{self.at}{'' if self.writable else ':ro'}"


class MemoryVolume(NamedTuple):
    """An empty volume in memory that is full after so many bytes; it goes with the container."""

    at: str
    bytes: int

    def __str__(self) -> str:
        return f"type=tmpfs,destination={self.at},tmpfs-size={self.bytes},tmpfs-mode=1777"


class Container(NamedTuple):
    """A container of `image`, over its layers, for as long as a command runs as root.

    One of a name at a time: what a run that was killed has left behind is taken away by the next. With `cpu_shares`,
    all its processes together get so many parts of the processors where every other session of programs gets 1024.
    """

    name: str
    image: str
    mounts: Sequence[Mount] = ()
    workdir: str = "/tmp"
    volumes: Sequence[MemoryVolume] = ()
    cpu_shares: int = 0

    def run(self, command: Sequence[str], *, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end, whatever that is."""
        return (self._run_by_docker if _has_docker() else self._run_by_buildah)(command, stdout)

    def _run_by_docker(self, command: Sequence[str], stdout: int | None) -> subprocess.CompletedProcess[str]:
        subprocess.run(["docker", "rm", "--force", self.name], capture_output=True, check=False)
        options = ["--rm", "--name", self.name, "--entrypoint", "", "--user", "0", "-w", self.workdir]
        options += ["--cpu-shares", str(self.cpu_shares)] if self.cpu_shares else []
        run = ["docker", "run", *options, *self._list_mounts(), self.image, *command]
        return subprocess.run(run, stdout=stdout, text=True, check=False)

    def _run_by_buildah(self, command: Sequence[str], stdout: int | None) -> subprocess.CompletedProcess[str]:
        subprocess.run(["buildah", "rm", self.name], capture_output=True, check=False)
        create = ["buildah", "from", "--pull-never", "--name", self.name, self.image]
        subprocess.run(create, stdout=subprocess.DEVNULL, check=True)
        options = ["--isolation", "chroot", "--network", "host", "--user", "0", "--workingdir", self.workdir]
        try:
            run = ["buildah", "run", *options, *self._list_mounts(), self.name, "--", *command]
            with cpu_group(self.name, self.cpu_shares) as join:
                return subprocess.run([*join, *run], stdout=stdout, text=True, check=False)
        finally:
            subprocess.run(["buildah", "rm", self.name], stdout=subprocess.DEVNULL, check=False)

    def _list_mounts(self) -> list[str]:
        mounts = [word for mount in self.mounts for word in ("-v", str(mount))]
        return mounts + [word for volume in self.volumes for word in ("--mount", str(volume))]


@contextlib.contextmanager
def cpu_group(name: str, shares: int, root: Path = CGROUPS) -> Iterator[list[str]]:
    """Make a group of processes with these shares; yield the words before a command that run it in the group.

    Niceness would not do: where the kernel groups processes by session, it counts within a session alone. Where there
    are no such groups, or none can be made, the command runs like any other.
    """
    group = root / name
    with contextlib.suppress(OSError):
        if shares and root.is_dir():
            group.mkdir(exist_ok=True)
            (group / "cpu.shares").write_text(str(shares))
    try:
        yield ["sh", "-c", JOIN, str(group / "cgroup.procs")] if shares and group.is_dir() else []
    finally:
        # What outlives the command keeps it; the next run of the name takes it over.
        with contextlib.suppress(OSError):
            group.rmdir()


@functools.cache
def _has_docker() -> bool:
    """Return whether docker is installed and answers."""
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )
