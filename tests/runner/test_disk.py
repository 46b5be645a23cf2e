"""Full volumes, on real ones: file systems of a megabyte or two, in a mount namespace of the test's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runner_process import build_run_input, write_stand_in

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome
from lmms_eval_runner.disk import DiskWatch, find_volume, is_full, list_writable_mounts, suggest_remedy

MOUNTINFO = r"""
22 1 0:5 / / ro,relatime - overlay overlay rw
23 22 0:6 / /proc rw - proc proc rw
24 22 0:7 / /dev rw - tmpfs tmpfs rw
25 24 0:8 / /dev/shm rw - tmpfs shm rw
26 22 8:1 /pods/tmp {tmp}/full\040width rw,relatime - ext4 /dev/sda1 rw
27 22 8:1 /pods/ro {tmp}/checkpoints ro,relatime - ext4 /dev/sda1 rw
28 22 8:1 /pods/hosts {tmp}/hosts rw,relatime - ext4 /dev/sda1 rw
29 22 0:9 / /sys/firmware rw - tmpfs tmpfs rw
30 broken
"""


def test_the_volumes_that_a_run_may_fill(tmp_path: Path) -> None:
    for folder in ("full width", "checkpoints"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts").touch()
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTINFO.format(tmp=tmp_path))
    assert list_writable_mounts(file) == ["/dev/shm", f"{tmp_path}/full width"]
    assert list_writable_mounts(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("path", "volume"),
    [("/cache", "/cache"), ("/cache/a/b", "/cache/a"), ("/cachet", ""), ("/etc", ""), ("/cache/ab", "/cache")],
)
def test_the_volume_of_a_path(path: str, volume: str) -> None:
    assert find_volume(path, ["/cache", "/cache/a"]) == volume


@pytest.mark.parametrize(
    ("mount_point", "field"),
    [
        ("/tmp", "spec.resources.ephemeralStorage"),
        ("/cache", "cache.size"),
        ("/dev/shm", "spec.resources.sharedMemory"),
        ("/data", "spec.volumes"),
    ],
)
def test_the_field_that_raises_it(mount_point: str, field: str) -> None:
    assert field in suggest_remedy(mount_point)


def test_a_volume_that_is_there_is_not_full(tmp_path: Path) -> None:
    assert not is_full(str(tmp_path))
    assert not is_full(str(tmp_path / "nothing"))
    with DiskWatch([str(tmp_path)]) as watch:
        assert watch.list_full() == ((), ())


# The runner and a harness that fills one of its volumes: a tmpfs on `run` or on `tmp`, full to the last byte.
IN_A_NAMESPACE = """
set -e
mount -t tmpfs -o size={size} none {place}
[ {place} = {run} ] || mkdir -p {run}
cd {run}
{python} -m lmms_eval_runner && code=$? || code=$?
mkdir -p {kept}
cp {run}/*.json {run}/log.txt {kept}/
exit $code
"""
FILL = """
import tempfile
print("before it was full", flush=True)
with open(os.path.join({place!r}, "hungry"), "wb", buffering=0) as hungry:
    try:
        while True:
            hungry.write(bytes(4096))
    except OSError:
        time.sleep(1)
        print("the last words " * 5, flush=True)
        raise
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("volume", ["run", "tmp"])
def test_a_full_volume_leaves_its_evidence(tmp_path: Path, volume: str) -> None:
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.fail("this test needs a mount namespace: run it as root, or in a user namespace (unshare -Ur)")
    for folder in ("run", "tmp", "stand-in"):
        (tmp_path / folder).mkdir()
    place, kept = tmp_path / volume, tmp_path / "kept"
    environment = os.environ | {
        "LMMS_EVAL_RUN_DIRECTORY": str(tmp_path / "run"),
        "LMMS_EVAL_RUN": json.dumps(build_run_input(publishTimeoutSeconds=0)),
        "PYTHONPATH": str(write_stand_in(tmp_path / "stand-in")),
        "HARNESS_SCRIPT": FILL.format(place=str(place)),
        "TMPDIR": str(tmp_path / "tmp"),
    }
    script = IN_A_NAMESPACE.format(size="4m", place=place, run=tmp_path / "run", kept=kept, python=sys.executable)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 74, done.stderr
    outcome = Outcome.model_validate_json((kept / "outcome.json").read_text())
    assert outcome.reason is Reason.DISK_FULL
    assert f"the volume at {place} was full" in outcome.message and "No space left on device" in outcome.message
    log = (kept / "log.txt").read_text()
    assert "before it was full" in log and "the last words" in log
    assert log.rstrip().splitlines()[-2] == "OSError: [Errno 28] No space left on device"
    assert log == done.stdout
