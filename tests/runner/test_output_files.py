"""What lmms-eval wrote, found again; the environment and the counters around it."""

import subprocess
import sys
from pathlib import Path

import pytest

from lmms_eval_core.results_file import InvalidResults
from lmms_eval_core.run import HarnessArguments, RunInput
from lmms_eval_runner import output_files
from lmms_eval_runner.container_memory import read_memory_kills
from lmms_eval_runner.environment import build_harness_environment
from lmms_eval_runner.output_files import (
    OutputFiles,
    count_expected_answers,
    empty_folder,
    find_output_files,
    list_task_files,
    read_results,
)

STAMP = "20261123_073514"


def run(**model_args: str) -> RunInput:
    harness = HarnessArguments(model="dummy", tasks=["mme"], model_args=dict(model_args))
    return RunInput(namespace="ns", name="e", uid="u", attempt=1, harness=harness)


def write(directory: Path, *paths: str) -> None:
    for path in paths:
        (directory / "output" / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / "output" / path).write_text("{}")


@pytest.mark.parametrize("folder", ["", "org__model/", "full\u3000width\u00a0and\u200bnone/"])
def test_finds_results_in_the_model_folder_and_beside_it(tmp_path: Path, folder: str) -> None:
    names = [f"{folder}{STAMP}_{rest}" for rest in ("results.json", "samples_mme.jsonl", "samples_a_samples_b.jsonl")]
    write(tmp_path, *names)
    results, mme, odd = (f"output/{name}" for name in names)
    assert find_output_files(run(), tmp_path) == OutputFiles(results, {"mme": mme, "a_samples_b": odd})


def test_what_tasks_write_is_not_taken_for_lmms_evals_own(tmp_path: Path) -> None:
    own, samples = f"org__m/{STAMP}_results.json", f"org__m/{STAMP}_samples_mme.jsonl"
    tasks = [
        "submissions/mmbench_en_dev_results.json",
        "submissions/vatex_captions_val_results.json",
        "submissions/my_samples_mme.jsonl",
        f"submissions/{STAMP}_samples_mme.jsonl",
        f"org__m/deeper/{STAMP}_results.json",
        "org__m/z_results.json",
        f"org__m/z_{STAMP}_results.json",
        "org__m/20261123_073515_samples_mme.jsonl",
    ]
    write(tmp_path, *tasks)
    assert find_output_files(run(pretrained="org/m"), tmp_path) == OutputFiles(None, {})
    write(tmp_path, own, samples)
    assert find_output_files(run(pretrained="org/m"), tmp_path) == OutputFiles(
        f"output/{own}", {"mme": f"output/{samples}"}
    )


def test_the_models_folder_comes_before_a_tasks(tmp_path: Path) -> None:
    write(tmp_path, f"org__m/{STAMP}_results.json", "submissions/20991231_000000_results.json")
    assert find_output_files(run(pretrained="org/m"), tmp_path).results == f"output/org__m/{STAMP}_results.json"
    write(tmp_path, f"{STAMP}_results.json")
    assert find_output_files(run(), tmp_path).results == f"output/{STAMP}_results.json"


def test_no_more_samples_than_an_outcome_can_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_files, "MAX_SAMPLE_FILES", 3)
    write(tmp_path, f"m/{STAMP}_results.json", *(f"m/{STAMP}_samples_{n}.jsonl" for n in range(5)))
    assert set(find_output_files(run(), tmp_path).samples) == {"0", "1", "2"}


def test_follows_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{STAMP}_results.json").write_text("{}")
    place = tmp_path / "output"
    place.mkdir()
    (place / "model").symlink_to(elsewhere)
    (place / f"{STAMP}_results.json").symlink_to(elsewhere / f"{STAMP}_results.json")
    assert find_output_files(run(), tmp_path) == OutputFiles(None, {})


def test_a_folder_that_no_json_can_name_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, f"m/{STAMP}_results.json", f"\udcff/{STAMP}_results.json")
    assert find_output_files(run(), tmp_path).results == f"output/m/{STAMP}_results.json"


def test_the_newest_results_count(tmp_path: Path) -> None:
    write(tmp_path, "20261123_070000_results.json", "20261123_080000_results.json")
    assert find_output_files(run(), tmp_path).results == "output/20261123_080000_results.json"


def test_an_earlier_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, f"model/{STAMP}_results.json")
    empty_folder(tmp_path / "output")
    assert find_output_files(run(), tmp_path) == OutputFiles(None, {})
    assert find_output_files(run(), tmp_path / "missing") == OutputFiles(None, {})


def test_results_are_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.json"
    file.write_text('{"results": {"mme": {"score,none": NaN}}, "n-samples": {"mme": {"original": 9, "effective": 4}}}')
    assert count_expected_answers(read_results(file)) == 4
    monkeypatch.setattr(output_files, "MAX_RESULTS_BYTES", 8)
    with pytest.raises(InvalidResults, match="larger than 8 bytes"):
        read_results(file)


@pytest.mark.parametrize("text", ["", '{"results"', "[]", '{"results": []}'])
def test_half_a_results_file_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(InvalidResults):
        read_results(file)


@pytest.mark.parametrize("rows", [None, [], {"mme": 3}, {"mme": {"effective": "x"}}])
def test_a_strange_number_of_samples_is_none(rows: object) -> None:
    assert count_expected_answers({"n-samples": rows}) == 0


def test_the_harness_has_the_name_of_a_user() -> None:
    assert build_harness_environment({"USER": ""}, run_directory=Path("/run"))["USER"] == "lmms-eval"
    assert build_harness_environment({"USER": "me"}, run_directory=Path("/run"))["USER"] == "me"
    script = "import getpass; print(getpass.getuser())"
    environment = build_harness_environment({}, run_directory=Path("/run"))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "lmms-eval\n"


def test_the_harness_is_nobody_elses_rank() -> None:
    outer = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "SLURM_JOB_ID": "7",
        "PMI_RANK": "1",
        "LMMS_EVAL_RUN": "{}",
        "HF_TOKEN": "x",
    }
    inner = build_harness_environment(outer, run_directory=Path("/run/lmms-eval"))
    assert not set(inner) & (set(outer) - {"HF_TOKEN"})
    assert inner["HF_TOKEN"] == "x"
    assert inner["LMMS_EVAL_RUN_DIRECTORY"] == "/run/lmms-eval"
    assert inner["PYTHONUNBUFFERED"] == "1"


@pytest.mark.parametrize(
    ("file", "content", "kills"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 11\noom 1\noom_kill 2\noom_group_kill 0\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3),
        ("other", "", 0),
    ],
)
def test_both_versions_of_control_groups(tmp_path: Path, file: str, content: str, kills: int) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    assert read_memory_kills(tmp_path) == kills


def test_the_other_files_of_a_run_are_those_that_its_tasks_wrote(tmp_path: Path) -> None:
    own = [f"org__m/{STAMP}_results.json", f"org__m/{STAMP}_samples_mme.jsonl"]
    write(tmp_path, *own, "submissions/b.json", "submissions/a.json")
    (tmp_path / "work" / "logs").mkdir(parents=True)
    (tmp_path / "work" / "logs" / "x.csv").write_text("1")
    (tmp_path / "work" / "link").symlink_to("/etc/passwd")
    found = list_task_files(find_output_files(run(), tmp_path), tmp_path)
    assert found == ["output/submissions/a.json", "output/submissions/b.json", "work/logs/x.csv"]
