"""The names of lmms-eval's own files, against lmms-eval's own words for them."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.harness_files import (
    InvalidPath,
    find_model_folder,
    find_results_date_id,
    find_samples_task,
    split_path,
)

FOLDER_OF = {"loggers/evaluation_tracker.py": "_get_model_name", "utils.py": "sanitize_model_name"}


@pytest.fixture(scope="module")
def theirs(upstream_folder: Path) -> Callable[[str], str]:
    """lmms-eval's own functions, taken out of its source: their modules need the whole of it."""
    found: dict[str, Any] = {"re": re}
    for file, name in FOLDER_OF.items():
        tree = ast.parse((upstream_folder / "lmms_eval" / file).read_text())
        (function,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
        function.decorator_list = []
        exec(compile(ast.Module([function], []), file, "exec"), found)
    return lambda model_args: found["sanitize_model_name"](found["_get_model_name"](model_args))


RESULTS = "output/org__m/20261123_073514_results.json"


@pytest.mark.parametrize(
    ("model_args", "folder"),
    [
        ("", ""),
        ("response=A", ""),
        ("pretrained=Qwen/Qwen2.5-VL-7B-Instruct,device_map=auto", "Qwen__Qwen2.5-VL-7B-Instruct"),
        ("pretrained=/ckpt/run1/checkpoint-100", "run1__checkpoint-100"),
        ("model=b,pretrained=a", "a"),
        ("peft=x/y/z,pretrained=a", "y__z"),
        ("model_version=gpt-4o", "gpt-4o"),
        ("my_path=/a/b", "a__b"),
        ("pretrained=/m", "__m"),
        ("pretrained=C:\\a*b", "C__a__b"),
        ("pretrained=/d/full\u3000width", "d__full\u3000width"),
    ],
)
def test_the_folder_of_a_model(model_args: str, folder: str) -> None:
    assert find_model_folder(model_args) == folder


@given(
    st.lists(
        st.sampled_from(["peft", "pretrained", "model", "my_path", "model_version", "x", "engine"]).flatmap(
            lambda name: st.text(max_size=20).map(lambda value: f"{name}={value}")
        ),
        max_size=4,
    ).map(",".join)
)
def test_it_is_the_folder_that_lmms_eval_makes(theirs: Callable[[str], str], model_args: str) -> None:
    assert find_model_folder(model_args) == theirs(model_args)


@pytest.mark.parametrize(
    ("path", "date_id"),
    [
        (RESULTS, "20261123_073514"),
        ("output/20261123_073514_results.json", "20261123_073514"),
        ("20261123_073514_results.json", None),
        ("output/a/b/20261123_073514_results.json", None),
        ("output/submissions/mmbench_en_dev_results.json", None),
        ("output/submissions/x_20261123_073514_results.json", None),
        ("output/submissions/20261123_073514_results.json.txt", None),
        ("output/submissions/٢٠٢٦١١٢٣_073514_results.json", None),
        ("elsewhere/m/20261123_073514_results.json", None),
    ],
)
def test_a_results_file_is_known_by_its_whole_path(path: str, date_id: str | None) -> None:
    assert find_results_date_id(path) == date_id


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("output/org__m/20261123_073514_samples_mme.jsonl", "mme"),
        ("output/org__m/20261123_073514_samples_a_samples_b.jsonl", "a_samples_b"),
        ("output/org__m/20261123_073515_samples_mme.jsonl", None),
        ("output/submissions/20261123_073514_samples_mme.jsonl", None),
        ("output/20261123_073514_samples_mme.jsonl", None),
        ("output/org__m/my_samples_mme.jsonl", None),
    ],
)
def test_samples_are_those_of_the_same_run(path: str, task: str | None) -> None:
    assert find_samples_task(path, results=RESULTS) == task


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "a/../b", "a//b", "./a", "a\0b", "x/" * 16 + "x", "x" * 5000, "\ud800"]
)
def test_a_path_that_is_none_says_so(path: str) -> None:
    with pytest.raises(InvalidPath):
        split_path(path)


@pytest.mark.parametrize("space", ["\u3000", "\u00a0", "\u200b", "\u202e", "\n"])
def test_a_name_may_have_any_character(space: str) -> None:
    assert split_path(f"output/a{space}b") == ["output", f"a{space}b"]
