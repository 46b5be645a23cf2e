import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmms_eval_core.phases import Reason
from lmms_eval_reporter.files import RunDirectory, UnsafeFile
from lmms_eval_reporter.inbox import in_output, read_ending, read_progress

GOOD = {"reason": "Succeeded", "exitCode": 0, "results": "output/m/r.json"}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    (tmp_path / "output" / "m").mkdir(parents=True)
    (tmp_path / "output" / "m" / "r.json").write_text('{"results": {"t": {"acc,none": 0.5}}}')
    return RunDirectory(tmp_path)


def leave(directory: RunDirectory, outcome: Any) -> None:
    text = outcome if isinstance(outcome, str) else json.dumps(outcome)
    (directory.path / "outcome.json").write_text(text)


def test_a_run_that_goes_on_has_no_ending(directory: RunDirectory) -> None:
    assert read_ending(directory) is None
    assert read_progress(directory) is None


def test_a_success_comes_with_its_results(directory: RunDirectory) -> None:
    leave(directory, GOOD)
    ending = read_ending(directory)
    assert ending is not None and ending.outcome.reason == Reason.SUCCEEDED
    assert ending.results == {"results": {"t": {"acc,none": 0.5}}}


def test_a_failure_needs_none(directory: RunDirectory) -> None:
    leave(directory, {"reason": "TaskNotFound", "exitCode": 65, "message": "no task x"})
    ending = read_ending(directory)
    assert ending is not None and ending.outcome.message == "no task x" and ending.results is None


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("", "outcome cannot be read"),
        ("[" * 100_000, "outcome cannot be read"),
        ("[]", "outcome cannot be read"),
        ('{"reason": "Odd", "exitCode": 0}', "outcome cannot be read"),
        ('{"reason": "Running", "exitCode": 0}', "outcome cannot be read"),
        ('{"reason": "WaitingForTurn", "exitCode": 0}', "not a way for a run to end"),
        (" " * 2_000_000, "larger than"),
        ({"reason": "Succeeded", "exitCode": 0}, "results cannot be read"),
        ({**GOOD, "results": "/etc/passwd"}, "relative path"),
        ({**GOOD, "results": "output/../outcome.json"}, "relative path"),
        ({**GOOD, "results": "outcome.json"}, "not in output/"),
        ({**GOOD, "results": "output/nothing.json"}, "No such file"),
        ({**GOOD, "results": "output/m"}, "not a regular file"),
        ({**GOOD, "results": "output/m/list.json"}, "no 'results' object"),
        ({**GOOD, "results": "output/m/latin.json"}, "can't decode"),
        ({**GOOD, "results": "output/m/link.json"}, "cannot be opened"),
    ],
)
def test_what_cannot_be_used_is_missing_results_with_a_sentence(directory: RunDirectory, outcome: Any, message: str) -> None:
    folder = directory.path / "output" / "m"
    (folder / "list.json").write_text("[]")
    (folder / "latin.json").write_bytes(b'{"results": "\xe4"}')
    (folder / "link.json").symlink_to("r.json")
    leave(directory, outcome)
    ending = read_ending(directory)
    assert ending is not None and ending.results is None
    assert ending.outcome.reason == Reason.RESULTS_MISSING and message in ending.outcome.message


def test_an_outcome_that_is_no_file_is_one_too(directory: RunDirectory) -> None:
    os.mkfifo(directory.path / "outcome.json")
    ending = read_ending(directory)
    assert ending is not None and "not a regular file" in ending.outcome.message


def test_progress_that_cannot_be_read_is_none(directory: RunDirectory) -> None:
    for content in ("", "{", '{"stage": "Dancing"}', " " * 2_000_000):
        (directory.path / "progress.json").write_text(content)
        assert read_progress(directory) is None
    (directory.path / "progress.json").write_text('{"stage": "Scoring", "stageStartedAt": 1, "updatedAt": 2, "extra": [1]}')
    assert read_progress(directory) is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_raise(directory: RunDirectory, content: bytes) -> None:
    for name in ("outcome.json", "progress.json"):
        (directory.path / name).write_bytes(content)
    assert read_ending(directory) is not None
    read_progress(directory)


@pytest.mark.parametrize("path", ["log.txt", "outputs/x", "output/../log.txt", "../output/x"])
def test_only_the_output_of_the_harness_is_taken(path: str) -> None:
    assert in_output("output/x") == "output/x"
    with pytest.raises(UnsafeFile):
        in_output(path)
