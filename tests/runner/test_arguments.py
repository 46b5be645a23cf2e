"""The command line of lmms-eval: every field its flag, values whole, what cannot be carried refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_core.schema import Scalar
from lmms_eval_runner.arguments import (
    LAUNCH_FILE,
    SWITCHES,
    VALUES,
    build_command,
    find_listing_word,
    find_problem,
    format_model_args,
    is_parsed_exactly,
)

OUTPUT = Path("/run/lmms-eval/output")
BARE = ["--model=dummy", "--tasks=mme", "--log_samples", f"--output_path={OUTPUT}", "--timezone=UTC"]


def harness(**fields: object) -> HarnessArguments:
    return HarnessArguments.model_validate({"model": "dummy", "tasks": ["mme"], **fields})


def argv(processes: int = 1, **fields: object) -> list[str]:
    run = RunInput(namespace="n", name="e", uid="u", attempt=1, harness=harness(**fields), processes=processes)
    return build_command(run, python="python", output=OUTPUT, port=29500)


def test_an_unset_field_passes_no_flag() -> None:
    assert argv() == ["python", "-m", "lmms_eval_runner.warm_start", *BARE]


def test_every_field_of_the_input_has_its_place() -> None:
    assert set(HarnessArguments.model_fields) == {"model", "model_args", "tasks", *VALUES, *SWITCHES}


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("num_fewshot", 0, "--num_fewshot=0"),
        ("batch_size", "auto:4", "--batch_size=auto:4"),
        ("batch_size", 8, "--batch_size=8"),
        ("limit", 8.0, "--limit=8"),
        ("limit", 0.25, "--limit=0.25"),
        ("offset", 100, "--offset=100"),
        ("gen_kwargs", "temperature=0,top_p=1", "--gen_kwargs=temperature=0,top_p=1"),
        ("seed", "1,2,3,4", "--seed=1,2,3,4"),
        ("repeats", 4, "--repeats=4"),
        ("system_instruction", "-- be brief\nplease", "--system_instruction=-- be brief\nplease"),
        ("reasoning_tags", "none", "--reasoning_tags=none"),
        ("max_tokens", 100, "--max_tokens=100"),
        ("include_path", "/mnt/tasks", "--include_path=/mnt/tasks"),
        ("apply_chat_template", True, "--apply_chat_template"),
        ("fewshot_as_multiturn", True, "--fewshot_as_multiturn"),
        ("force_simple", True, "--force_simple"),
        ("process_with_media", True, "--process_with_media"),
        ("predict_only", True, "--predict_only"),
    ],
)
def test_each_field_passes_its_flag(field: str, value: Any, flag: str) -> None:
    assert flag in argv(**{field: value})


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_that_is_off_passes_nothing(switch: str) -> None:
    assert f"--{switch}" not in argv(**{switch: False})


def test_several_processes_get_a_launcher() -> None:
    launched = argv(processes=4)
    place = [
        "--config_file",
        str(LAUNCH_FILE),
        "--multi_gpu",
        "--num_processes",
        "4",
        "--num_machines",
        "1",
        "--main_process_port",
        "29500",
    ]
    assert launched == [
        "python",
        "-m",
        "accelerate.commands.launch",
        *place,
        "-m",
        "lmms_eval_runner.warm_start",
        *BARE,
    ]
    # Else accelerate would obey one on the cache volume.
    assert json.loads(LAUNCH_FILE.read_text())["compute_environment"] == "LOCAL_MACHINE"


def test_model_args_look_as_on_any_command_line() -> None:
    text = format_model_args({"pretrained": "org/m", "use_flash": True, "max_pixels": 12544, "scale": 0.5})
    assert text == "pretrained=org/m,use_flash=True,max_pixels=12544,scale=0.5"


@pytest.mark.parametrize(
    "value", ["org/model-1.5", "cuda:0", "/mnt/ckpt/run_1", True, False, 0, 7, 0.5, -0.5, "v1.2.3"]
)
def test_ordinary_values_read_back(value: Scalar) -> None:
    assert is_parsed_exactly({"x": value})


@pytest.mark.parametrize(
    "value",
    ["a,b", "a=b", '"q"', "{'a': 1}", "[1]", "é", "", " x", "007", "1e5", "nan", "true", "False", "1_0", -1, "x\ny"],
)
def test_values_that_the_parser_would_change_are_known(value: Scalar) -> None:
    assert not is_parsed_exactly({"x": value})


@given(st.text(max_size=30))
def test_what_reads_back_has_no_separator(value: str) -> None:
    if is_parsed_exactly({"x": value}):
        assert not set(value) & set(",='\"{}[] \n\t")


def test_a_nul_character_is_refused_with_its_place() -> None:
    assert find_problem(harness(system_instruction="a\0b")) == (
        "system_instruction contains a NUL character, which no command line can carry; remove it"
    )
    assert "modelArgs.prompt" in str(find_problem(harness(model_args={"prompt": "\0"})))
    assert find_problem(harness(model_args={"prompt": "fine, 'really'"})) is None


def test_a_request_for_a_list_is_no_task() -> None:
    assert find_listing_word(harness(tasks=["list_groups"])) == "list_groups"
    assert find_listing_word(harness(tasks=["mme", "mmmu_val"])) is None
