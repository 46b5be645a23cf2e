import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import MAX_SAMPLE_FILES, Outcome
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile
from lmms_eval_reporter.run_files import find_results_path, find_samples_path, read_finished_run, read_progress

GOOD = {"reason": "Succeeded", "exitCode": 0, "results": "output/m/20261123_070000_results.json"}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    (tmp_path / "output" / "m").mkdir(parents=True)
    (tmp_path / "output" / "m" / "20261123_070000_results.json").write_text('{"results": {"t": {"acc,none": 0.5}}}')
    return RunDirectory(tmp_path)


def leave(directory: RunDirectory, outcome: Any) -> None:
    text = outcome if isinstance(outcome, str) else json.dumps(outcome)
    (directory.path / "outcome.json").write_text(text)


def test_a_run_that_goes_on_has_no_ending(directory: RunDirectory) -> None:
    assert read_finished_run(directory) is None
    assert read_progress(directory) is None


def test_a_success_comes_with_its_results(directory: RunDirectory) -> None:
    leave(directory, GOOD)
    finished = read_finished_run(directory)
    assert finished is not None and finished.outcome.reason == Reason.SUCCEEDED
    assert finished.results == {"results": {"t": {"acc,none": 0.5}}}


def test_a_failure_needs_none(directory: RunDirectory) -> None:
    leave(directory, {"reason": "TaskNotFound", "exitCode": 65, "message": "no task x"})
    finished = read_finished_run(directory)
    assert finished is not None and finished.outcome.message == "no task x" and finished.results is None


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("", "outcome cannot be read"),
        ("[" * 100_000, "outcome cannot be read"),
        ("[]", "outcome cannot be read"),
        ('{"reason": "Odd", "exitCode": 0}', "outcome cannot be read"),
        ('{"reason": "Running", "exitCode": 0}', "outcome cannot be read"),
        ('{"reason": "WaitingForTurn", "exitCode": 0}', "not a way for a run to end"),
        (" " * 5_000_000, "larger than"),
        ({"reason": "Succeeded", "exitCode": 0}, "results cannot be read"),
        ({**GOOD, "results": "/etc/passwd"}, "relative path"),
        ({**GOOD, "results": "output/../outcome.json"}, "relative path"),
        ({**GOOD, "results": "outcome.json"}, "not where lmms-eval writes"),
        ({**GOOD, "results": "output/submissions/mmbench_en_dev_results.json"}, "not where lmms-eval writes"),
        ({**GOOD, "results": "output/20261123_070000_results.json"}, "No such file"),
        ({**GOOD, "results": "output/m/20261123_070001_results.json"}, "not a regular file"),
        ({**GOOD, "results": "output/m/20261123_070002_results.json"}, "no 'results' object"),
        ({**GOOD, "results": "output/m/20261123_070003_results.json"}, "can't decode"),
        ({**GOOD, "results": "output/m/20261123_070004_results.json"}, "cannot be opened"),
    ],
)
def test_what_cannot_be_used_is_not_tried_again_and_has_a_sentence(
    directory: RunDirectory, outcome: Any, message: str
) -> None:
    folder = directory.path / "output" / "m"
    (folder / "20261123_070001_results.json").mkdir()
    (folder / "20261123_070002_results.json").write_text("[]")
    (folder / "20261123_070003_results.json").write_bytes(b'{"results": "\xe4"}')
    (folder / "20261123_070004_results.json").symlink_to("20261123_070000_results.json")
    leave(directory, outcome)
    finished = read_finished_run(directory)
    assert finished is not None and finished.results is None
    assert finished.outcome.reason == Reason.EVALUATION_ERROR and message in finished.outcome.message
    assert not BY_REASON[finished.outcome.reason].retry


def test_an_outcome_that_is_no_file_is_one_too(directory: RunDirectory) -> None:
    os.mkfifo(directory.path / "outcome.json")
    finished = read_finished_run(directory)
    assert finished is not None and "not a regular file" in finished.outcome.message


def test_progress_that_cannot_be_read_is_none(directory: RunDirectory) -> None:
    for content in ("", "{", '{"stage": "Dancing"}', " " * 2_000_000):
        (directory.path / "progress.json").write_text(content)
        assert read_progress(directory) is None
    (directory.path / "progress.json").write_text(
        '{"stage": "Scoring", "stageStartedAt": 1, "updatedAt": 2, "extra": [1]}'
    )
    assert read_progress(directory) is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_raise(directory: RunDirectory, content: bytes) -> None:
    for name in ("outcome.json", "progress.json"):
        (directory.path / name).write_bytes(content)
    assert read_finished_run(directory) is not None
    read_progress(directory)


def outcome(results: str, samples: dict[str, str] | None = None) -> Outcome:
    return Outcome(reason=Reason.SUCCEEDED, exit_code=0, results=results, samples=samples or {})


@pytest.mark.parametrize(
    "path",
    [
        "log.txt",
        "outputs/1_results.json",
        "output/../20261123_070000_results.json",
        "output/submissions/mmbench_en_dev_results.json",
    ],
)
def test_only_the_results_of_the_harness_are_taken(path: str) -> None:
    assert find_results_path(outcome("output/20261123_070000_results.json")) == "output/20261123_070000_results.json"
    with pytest.raises(UnsafeFile):
        find_results_path(outcome(path))


@pytest.mark.parametrize(
    "path",
    [
        "log.txt",
        "output/m/extra.jsonl",
        "output/20261123_070000_samples_mme.jsonl",
        "output/m/20261123_080000_samples_mme.jsonl",
        "output/m/20261123_070000_samples_other.jsonl",
    ],
)
def test_only_the_samples_beside_the_results_are_taken(path: str) -> None:
    results, good = "output/m/20261123_070000_results.json", "output/m/20261123_070000_samples_mme.jsonl"
    assert find_samples_path(outcome(results, {"mme": good}), "mme") == good
    with pytest.raises(UnsafeFile):
        find_samples_path(outcome(results, {"mme": path}), "mme")


@pytest.mark.parametrize("space", ["\u3000", "\u00a0", "\u200b", "\u202e", "\n", "\t"])
def test_a_model_folder_may_have_any_character(directory: RunDirectory, space: str) -> None:
    folder = directory.path / "output" / f"run{space}1"
    (directory.path / "output" / "m").rename(folder)
    leave(directory, {**GOOD, "results": f"output/run{space}1/20261123_070000_results.json"})
    finished = read_finished_run(directory)
    assert finished is not None and finished.outcome.reason == Reason.SUCCEEDED, finished


def test_the_longest_outcome_of_the_runner_is_read(directory: RunDirectory) -> None:
    folder = "m" * 255
    samples = {
        f"{n:0230d}": f"output/{folder}/20261123_070000_samples_{n:0225d}.jsonl" for n in range(MAX_SAMPLE_FILES)
    }
    leave(directory, Outcome(reason=Reason.SUCCEEDED, exit_code=0, results=GOOD["results"], samples=samples).to_json())
    finished = read_finished_run(directory)
    assert finished is not None and finished.outcome.reason == Reason.SUCCEEDED, finished
