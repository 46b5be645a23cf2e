"""What lmms-eval wrote, found again; the environment and the counters around it."""

from pathlib import Path

import pytest

from lmms_eval_core.results import InvalidResults
from lmms_eval_runner import output
from lmms_eval_runner.environment import harness_environment
from lmms_eval_runner.memory import memory_kills
from lmms_eval_runner.output import Output, answers_expected, empty_output, find_output, read_results

STAMP = "20261123_073514"


@pytest.mark.parametrize("folder", [".", "org__model"])
def test_finds_results_in_the_model_folder_and_beside_it(tmp_path: Path, folder: str) -> None:
    place = tmp_path / folder
    place.mkdir(exist_ok=True)
    for name in (f"{STAMP}_results.json", f"{STAMP}_samples_mme.jsonl", f"{STAMP}_samples_a_samples_b.jsonl"):
        (place / name).write_text("{}")
    found = find_output(tmp_path)
    assert found.results == place / f"{STAMP}_results.json"
    assert set(found.samples) == {"mme", "a_samples_b"}


def test_follows_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / f"{STAMP}_results.json").write_text("{}")
    place = tmp_path / "output"
    place.mkdir()
    (place / "model").symlink_to(elsewhere)
    (place / f"{STAMP}_results.json").symlink_to(elsewhere / f"{STAMP}_results.json")
    assert find_output(place) == Output(None, {})


def test_the_newest_results_count(tmp_path: Path) -> None:
    for stamp in ("20261123_070000", "20261123_080000"):
        (tmp_path / f"{stamp}_results.json").write_text("{}")
    assert find_output(tmp_path).results == tmp_path / "20261123_080000_results.json"


def test_an_earlier_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / f"{STAMP}_results.json").write_text("{}")
    empty_output(tmp_path)
    assert find_output(tmp_path) == Output(None, {})
    assert find_output(tmp_path / "missing") == Output(None, {})


def test_results_are_read_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.json"
    file.write_text('{"results": {"mme": {"score,none": NaN}}, "n-samples": {"mme": {"original": 9, "effective": 4}}}')
    assert answers_expected(read_results(file)) == 4
    monkeypatch.setattr(output, "MAX_RESULTS_BYTES", 8)
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
    assert answers_expected({"n-samples": rows}) == 0


def test_the_harness_is_nobody_elses_rank() -> None:
    outer = {"RANK": "3", "WORLD_SIZE": "4", "SLURM_JOB_ID": "7", "PMI_RANK": "1", "LMMS_EVAL_RUN": "{}", "HF_TOKEN": "x"}
    inner = harness_environment(outer, run_directory=Path("/run/lmms-eval"))
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
    assert memory_kills(tmp_path) == kills
