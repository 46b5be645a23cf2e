import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_core.harness_files import InvalidPath, split_path
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run directory with good files, and a secret beside it."""
    (tmp_path / "secret").write_text("token")
    (tmp_path / "run" / "output" / "m").mkdir(parents=True)
    (tmp_path / "run" / "output" / "m" / "r.json").write_text("{}")
    (tmp_path / "run" / "log.txt").write_text("one\ntwo\n")
    return tmp_path / "run"


@pytest.fixture
def directory(root: Path) -> RunDirectory:
    return RunDirectory(root)


def test_regular_files_beneath_are_read(directory: RunDirectory) -> None:
    assert directory.read("output/m/r.json", max_bytes=2) == b"{}"
    assert directory.read_tail("log.txt", max_bytes=4) == b"two\n"
    assert directory.read_tail("log.txt", max_bytes=400) == b"one\ntwo\n"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "../secret",
        "output/../../secret",
        "output//m",
        "/etc/passwd",
        "a\x00b",
        "log.txt/",
        "./log.txt",
        "\ud800",
    ]
    + ["x/" * 16 + "x", "x" * 5000],
)
def test_paths_that_are_no_plain_relative_path(directory: RunDirectory, path: str) -> None:
    with pytest.raises(UnsafeFile):
        directory.read(path, max_bytes=100)


@pytest.mark.parametrize("path", ["nothing", "output/nothing", "log.txt/below", "output", "output/m"])
def test_what_is_not_a_file(directory: RunDirectory, path: str) -> None:
    with pytest.raises(UnsafeFile):
        directory.read(path, max_bytes=100)


def test_no_link_is_followed(directory: RunDirectory, root: Path) -> None:
    (root / "file").symlink_to(root.parent / "secret")
    (root / "inside").symlink_to("log.txt")
    (root / "folder").symlink_to(root.parent)
    (root / "output" / "up").symlink_to("..")
    (root / "dangling").symlink_to("nowhere")
    (root / "self").symlink_to("self")
    for path in ("file", "inside", "folder/secret", "output/up/log.txt", "dangling", "self"):
        with pytest.raises(UnsafeFile, match=r"cannot be opened"):
            directory.read(path, max_bytes=100)


def test_a_second_name_of_a_file_is_refused(directory: RunDirectory, root: Path) -> None:
    os.link(root.parent / "secret", root / "hard")
    with pytest.raises(UnsafeFile, match="2 names"):
        directory.read("hard", max_bytes=100)


def test_fifos_sockets_and_devices_neither_block_nor_pass(directory: RunDirectory, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for path in ("fifo", "socket"):
            with pytest.raises(UnsafeFile):
                directory.read(path, max_bytes=100)


def test_a_file_is_read_to_its_bound_and_no_further(directory: RunDirectory, root: Path) -> None:
    with (root / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(UnsafeFile, match="larger than 1000 bytes"):
        directory.read("sparse", max_bytes=1000)
    assert len(directory.read_tail("sparse", max_bytes=1000)) == 1000


def test_refusals_do_not_leak_descriptors(directory: RunDirectory, root: Path) -> None:
    os.mkfifo(root / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("fifo", "output", "nothing", "output/nothing", "log.txt/x") * 20:
        with pytest.raises(UnsafeFile):
            directory.read(path, max_bytes=100)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_version_changes_with_every_content(directory: RunDirectory, root: Path) -> None:
    assert directory.read_version("nothing") is None
    first = directory.read_version("log.txt")
    (root / "new").write_text("one\ntwo\n")
    os.replace(root / "new", root / "log.txt")
    assert directory.read_version("log.txt") not in (None, first)


@settings(deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from(["..", ".", "", "a", "output", "~"]), max_size=20).map("/".join)
)
def test_accepted_paths_never_climb(path: str) -> None:
    try:
        names = split_path(path)
    except InvalidPath:
        return
    assert "/".join(names) == path
    assert os.path.normpath(os.path.join("/run", path)) == "/run/" + path


def test_everything_below_a_folder_is_listed_but_what_links_lead_to(directory: RunDirectory, root: Path) -> None:
    (root / "output" / "b").mkdir()
    for name in ("b/z.csv", "b/a.csv", "a.txt"):
        (root / "output" / name).write_text("x")
    (root / "output" / "away").symlink_to(root.parent)
    os.mkfifo(root / "output" / "pipe")
    found = list(directory.list_below("output"))
    assert found == [
        "output/a.txt",
        "output/away",
        "output/pipe",
        "output/b/a.csv",
        "output/b/z.csv",
        "output/m/r.json",
    ]
    for path in ("output/away", "output/pipe"):
        with pytest.raises(UnsafeFile), directory.open(path):
            pass
    assert list(directory.list_below("nothing")) == list(directory.list_below("log.txt")) == []
    (root / "link").symlink_to(root / "output")
    assert list(directory.list_below("link")) == []


def test_a_deep_or_full_folder_is_listed_as_far_as_it_can_be_read(directory: RunDirectory, root: Path) -> None:
    deep = root / "output"
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
        (deep / "f").write_text("x")
    found = list(directory.list_below("output"))
    assert len(found) < 20
    for path in found:
        assert directory.read(path, max_bytes=10) in (b"x", b"{}")
