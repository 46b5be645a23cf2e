"""Where the harness tier runs: in a container that gives way to everything else."""

import subprocess
from pathlib import Path

from image_container import cpu_group


def test_a_command_of_a_group_runs_in_it_with_its_shares(tmp_path: Path) -> None:
    with cpu_group("given-way", 256, tmp_path) as join:
        done = subprocess.run([*join, "sh", "-c", "echo $$ $0; exit 7", "its own"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (7, "")
        pid, _, rest = done.stdout.partition(" ")
        assert rest == "its own\n"
        assert (tmp_path / "given-way" / "cgroup.procs").read_text().strip() == pid
        assert (tmp_path / "given-way" / "cpu.shares").read_text() == "256"


def test_a_group_that_cannot_be_joined_keeps_no_command_from_running(tmp_path: Path) -> None:
    (tmp_path / "closed" / "cgroup.procs").mkdir(parents=True)
    with cpu_group("closed", 256, tmp_path) as join:
        assert subprocess.run([*join, "sh", "-c", "exit 7"], check=False).returncode == 7


def test_without_groups_or_shares_a_command_runs_as_it_is(tmp_path: Path) -> None:
    with cpu_group("none", 256, tmp_path / "missing") as join:
        assert join == []
    with cpu_group("none", 0, tmp_path) as join:
        assert join == [] and not (tmp_path / "none").exists()
