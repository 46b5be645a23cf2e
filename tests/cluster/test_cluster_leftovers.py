"""What belongs to a cluster is told from what does not: mounts by their path, processes by their mark, files by their
folder.
"""

import os
import subprocess
from pathlib import Path

from lmms_eval_cluster import leftovers, processes
from lmms_eval_cluster.settings import Cluster

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
90 22 0:40 / /var/lib/clusters/one/kubelet/pods/a/volumes/token rw - tmpfs tmpfs rw
91 22 0:41 / /var/lib/clusters/one-more/kubelet rw - tmpfs tmpfs rw
92 90 0:42 / /var/lib/clusters/one/kubelet/pods/a/volumes/token/with\\040blank rw - tmpfs tmpfs rw
"""


def cluster(state: Path) -> Cluster:
    return Cluster("one", state, state / "cache")


def test_mounts_are_those_in_the_folder_and_the_innermost_comes_first() -> None:
    token = "/var/lib/clusters/one/kubelet/pods/a/volumes/token"
    assert leftovers.mounts_below(Path("/var/lib/clusters/one"), MOUNTINFO) == [f"{token}/with blank", token]


def test_escapes_in_mount_points_are_undone() -> None:
    assert leftovers.decode_octal(r"/a\040b\134c\011d") == "/a b\\c\td"
    assert leftovers.decode_octal("/plain") == "/plain"


def test_a_process_is_found_by_its_mark_alone(tmp_path: Path) -> None:
    ours, marked = cluster(tmp_path / "ours"), {processes.COMPONENT: "sleep"}
    with (
        subprocess.Popen(["sleep", "30"], env=marked | {processes.OWNER: str(ours.state)}) as mine,
        subprocess.Popen(["sleep", "30"], env=marked | {processes.OWNER: f"{ours.state}-2"}) as other,
        subprocess.Popen(["sh", "-c", f"sleep 30; : {ours.state}"]) as mention,
    ):
        assert processes.running(ours) == {mine.pid: "sleep"}
        leftovers.end_processes(ours)
        assert mine.wait() == -9
        assert other.poll() is None
        assert mention.poll() is None
        processes.kill([other.pid, mention.pid])


def test_a_process_that_ended_has_no_environment(tmp_path: Path) -> None:
    assert processes.read_environment(tmp_path / "12345") == {}
    assert "PATH" in processes.read_environment(Path("/proc") / str(os.getpid()))
