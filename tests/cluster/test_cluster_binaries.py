"""What names a program in the cache, and what is said when it cannot be built."""

import os
import shutil
from pathlib import Path

import pytest
from lmms_eval_cluster import binaries
from lmms_eval_cluster.console import ClusterError


def module(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example/hello\n\ngo 1.26.0\n")
    (folder / "main.go").write_text("package main\n\nfunc main() {}\n")
    return folder


def test_the_key_changes_with_every_byte_name_flag_and_version(tmp_path: Path) -> None:
    folder = module(tmp_path / "hello")
    keys = [binaries.content_key(folder, ["go1.26", "-s"]), binaries.content_key(folder, ["go1.27", "-s"])]
    keys.append(binaries.content_key(folder, ["go1.26", "-s -w"]))
    (folder / "main.go").rename(folder / "other.go")
    keys.append(binaries.content_key(folder, ["go1.26", "-s"]))
    (folder / "other.go").write_text("package main\n\nfunc main() { }\n")
    keys.append(binaries.content_key(folder, ["go1.26", "-s"]))
    assert len(set(keys)) == len(keys)


def test_the_key_is_that_of_the_content_wherever_it_is(tmp_path: Path) -> None:
    here, there = module(tmp_path / "here"), module(tmp_path / "there")
    assert binaries.content_key(here, ["go1.26"]) == binaries.content_key(there, ["go1.26"])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 linux/arm64", (1, 27)),
        ("go version devel +a1b2c3", (0, 0)),
    ],
)
def test_the_version_of_go_is_read(text: str, version: tuple[int, int]) -> None:
    assert binaries.parse_go_version(text) == version


def test_a_missing_go_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"Go 1\.26 or newer is needed"):
        binaries.Binaries(tmp_path).path("kubectl")


@pytest.mark.parametrize(
    ("name", "told", "used"),
    [
        ("kubectl", "Client Version: v1.36.3\nKustomize Version: v5.8.1", True),
        ("kubectl", "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", False),
        ("helm", "v4.2.3+g1234567", True),
        ("helm", "v3.19.0+g1234567", False),
        ("helm", "a wrapper that tells no version", False),
        ("versitygw", "v9.9.9", False),
    ],
)
def test_an_installed_program_is_used_if_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, told: str, used: bool
) -> None:
    installed = tmp_path / "bin" / name
    installed.parent.mkdir()
    installed.write_text(f"#!/bin/sh\necho '{told}'\n")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", str(installed.parent), prepend=os.pathsep)
    cache = binaries.Binaries(tmp_path / "cache")
    monkeypatch.setattr(cache, "path", lambda name: Path("pinned", name))
    assert cache.found(name) == (installed if used else Path("pinned", name))


def test_an_unknown_tool_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="kubectl"):
        binaries.Binaries(tmp_path).path("kubectx")


def test_every_tool_has_its_module_with_pinned_sums() -> None:
    for name, tool in binaries.CATALOGUE.items():
        folder = binaries.TOOLS / tool.module
        assert (folder / "go.mod").exists(), name
        assert (folder / "go.sum").exists() or "require" not in (folder / "go.mod").read_text(), name


@pytest.mark.skipif(not shutil.which("go"), reason="needs Go")
@pytest.mark.timeout(60)
def test_a_program_is_built_once_and_a_failed_build_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = module(tmp_path / "tools" / "hello")
    monkeypatch.setitem(binaries.CATALOGUE, "hello", binaries.Tool("hello", ".", 0.1))
    cache = binaries.Binaries(tmp_path / "cache", tmp_path / "tools")
    first = cache.path("hello")
    made = first.stat().st_mtime_ns
    assert cache.path("hello") == first
    assert first.stat().st_mtime_ns == made
    (folder / "main.go").write_text("package main\n\nfunc main() { nonsense }\n")
    with pytest.raises(ClusterError, match="nonsense"):
        cache.path("hello")
    assert not list((tmp_path / "cache" / "tools").glob(".building-*"))
    assert first.exists()
