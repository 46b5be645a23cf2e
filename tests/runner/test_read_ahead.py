"""Which files hold a model's weights, and how far they are read before the harness wants them."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_cache import count_cached_bytes, drop_from_cache

from lmms_eval_runner.container_memory import read_available_memory
from lmms_eval_runner.read_ahead import CHUNK, ReadAhead, find_weight_files

PLENTY = 1 << 40
SIZE = 5 * CHUNK


def model(folder: Path, *files: str, index: str = "", shards: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()
    if index:
        (folder / index).write_text(json.dumps({"weight_map": {f"layer.{n}": shard for n, shard in enumerate(shards)}}))
    return folder


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


SHARDS = ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors")


def test_the_shards_of_an_index_in_the_order_of_the_loader(tmp_path: Path) -> None:
    folder = model(
        tmp_path,
        *SHARDS,
        "consolidated.safetensors",
        "pytorch_model.bin",
        index="model.safetensors.index.json",
        shards=SHARDS,
    )
    assert names(find_weight_files({"pretrained": str(folder)}, {})) == sorted(SHARDS)


@pytest.mark.parametrize(
    ("files", "read"),
    [
        (("config.json", "model.safetensors", "pytorch_model.bin", "optimizer.bin"), ["model.safetensors"]),
        (("config.json", "pytorch_model.bin", "training_args.bin"), ["pytorch_model.bin"]),
        (("config.json",), []),
    ],
)
def test_one_file_as_the_loader_chooses_it(tmp_path: Path, files: tuple[str, ...], read: list[str]) -> None:
    assert names(find_weight_files({"model": str(model(tmp_path, *files))}, {})) == read


def test_shards_that_are_missing_are_left_out(tmp_path: Path) -> None:
    folder = model(tmp_path, SHARDS[0], index="pytorch_model.bin.index.json", shards=SHARDS)
    assert names(find_weight_files({"pretrained": str(folder)}, {})) == [SHARDS[0]]


@pytest.mark.parametrize(
    ("revision", "commit"),
    [({}, "abc"), ({"revision": "v2"}, "def"), ({"revision": "def"}, "def"), ({"revision": "v3"}, None)],
)
@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HF_HOME": "{}/hf", "HOME": "/nowhere"}, "hf/hub"),
        ({"HF_HUB_CACHE": "{}/cache", "HF_HOME": "/nowhere"}, "cache"),
        ({"HOME": "{}"}, ".cache/huggingface/hub"),
    ],
)
def test_the_snapshot_in_the_cache_of_the_hub(
    tmp_path: Path, environ: dict[str, str], cache: str, revision: dict[str, str], commit: str | None
) -> None:
    repository = tmp_path / cache / "models--org--name"
    for known in ("abc", "def"):
        model(repository / "snapshots" / known, "model.safetensors")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc\n")
    (repository / "refs" / "v2").write_text("def")
    found = find_weight_files(
        {"pretrained": "org/name", **revision}, {name: value.format(tmp_path) for name, value in environ.items()}
    )
    assert [path.parent.name for path in found] == ([commit] if commit else [])


@pytest.mark.parametrize(
    "model_args", [{}, {"model_version": "gpt-4o"}, {"pretrained": ""}, {"pretrained": "/no/such/folder"}]
)
def test_a_model_that_is_not_here(tmp_path: Path, model_args: dict[str, str]) -> None:
    assert find_weight_files(model_args, {"HF_HOME": str(tmp_path)}) == []


def test_the_switch_leaves_all_to_the_harness(tmp_path: Path) -> None:
    given = {"pretrained": str(model(tmp_path, "model.safetensors"))}
    assert find_weight_files(given, {}) and not find_weight_files(given, {"LMMS_EVAL_READ_AHEAD": "0"})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(SIZE)
    return tmp_path


def read(
    folder: Path,
    *,
    wanted: Callable[[], bool] = lambda: True,
    available: Callable[[], int] = lambda: PLENTY,
    seconds: float = 5,
) -> ReadAhead:
    """What was read when nothing more came."""
    with ReadAhead({"pretrained": str(folder)}, {}, wanted=wanted, available=available) as ahead:
        ahead._thread.join(seconds)
        assert not ahead._thread.is_alive()
    return ahead


def test_reads_all_of_it_and_says_so(weights: Path) -> None:
    ahead = read(weights)
    assert ahead.bytes == SIZE
    assert str(ahead).startswith("0.0 GB of weights were read ahead in ")


def test_what_was_read_is_in_the_page_cache() -> None:
    # On a disk: what is in /tmp may live in memory alone.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(os.urandom(SIZE))
        drop_from_cache(path)
        assert count_cached_bytes(path) == 0
        read(Path(folder))
        assert count_cached_bytes(path) == SIZE


def test_half_of_the_memory_stays_free(weights: Path) -> None:
    assert read(weights, available=lambda: 4 * CHUNK).bytes == 2 * CHUNK


def test_stops_when_memory_becomes_short(weights: Path) -> None:
    left = iter([PLENTY, PLENTY, 0])
    assert read(weights, available=lambda: next(left)).bytes == 2 * CHUNK


def test_stops_when_the_harness_loads(weights: Path) -> None:
    answers = iter([True, True, True, False])
    assert read(weights, wanted=lambda: next(answers)).bytes == 3 * CHUNK


def test_stops_when_the_harness_has_ended(weights: Path) -> None:
    def slowly() -> Iterator[bool]:
        while True:
            time.sleep(0.05)
            yield True

    wanted = slowly()
    with ReadAhead({"pretrained": str(weights)}, {}, wanted=lambda: next(wanted), available=lambda: PLENTY) as ahead:
        pass
    ahead._thread.join(60)
    assert not ahead._thread.is_alive()
    assert ahead.bytes < SIZE


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "\\u0000"}}']
)
def test_an_index_of_another_form_ends_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert read(tmp_path).bytes == 0


def test_a_file_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    # The first page of a process is never mapped: EIO.
    (tmp_path / "model.safetensors").symlink_to("/proc/self/mem")
    assert read(tmp_path).bytes == 0


GIB = 1 << 30
MEMINFO = f"MemTotal: {64 * GIB // 1024} kB\nMemAvailable: {48 * GIB // 1024} kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({"memory.max": 16, "memory.current": 10, "memory.stat": "anon 1\ninactive_file {3}\nactive_file {1}"}, 10),
        ({"memory.max": "max", "memory.current": 10, "memory.stat": ""}, 48),
        ({"memory.max": 128, "memory.current": 1, "memory.stat": ""}, 48),
        (
            {
                "memory/memory.limit_in_bytes": 8,
                "memory/memory.usage_in_bytes": 7,
                "memory/memory.stat": "inactive_file 0\ntotal_inactive_file {2}\ntotal_active_file {0}",
            },
            3,
        ),
        ({}, 48),
    ],
)
def test_the_memory_below_the_limit_of_the_container(
    tmp_path: Path, files: dict[str, int | str], available: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (
            str(content * GIB) if isinstance(content, int) else content.format(*(number * GIB for number in range(5)))
        )
        (tmp_path / name).write_text(f"{text}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMINFO)
    assert read_available_memory(tmp_path, meminfo) == available * GIB
    assert read_available_memory(tmp_path, tmp_path / "missing") == 0


def test_this_machine_has_memory() -> None:
    assert read_available_memory() > 0
