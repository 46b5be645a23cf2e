"""The stand-in for lmms-eval under the real runner: every knob comes to the ending that it is there for."""

import json
import time
from pathlib import Path

import pytest
from deployment import ROOT
from runner_process import RunnerProcess

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import PROGRESS_FILE, Outcome

STUB = ROOT / "hack" / "chaos" / "stub"
TASK = "stub_vqa"


def start(directory: Path, *, cache: Path, task: str = TASK, attempt: int = 1, **knobs: str) -> RunnerProcess:
    directory.mkdir(exist_ok=True)
    env = {"PYTHONPATH": str(STUB), "HF_HOME": str(cache), "STUB_SECONDS": "0.2", **knobs}
    run = {"harness": {"model": "stub", "tasks": [task], "limit": 4}, "name": directory.name, "attempt": attempt}
    return RunnerProcess(directory, None, run=run, env=env)


def ended(runner: RunnerProcess) -> Outcome:
    runner.publish()
    assert runner.wait() == runner.outcome().exit_code, runner.log
    return runner.outcome()


def events(cache: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (cache / "stub" / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({}, Reason.SUCCEEDED),
        ({"STUB_ENDING": "suspect"}, Reason.SUCCEEDED),
        ({"STUB_ENDING": "raise"}, Reason.EVALUATION_ERROR),
        ({"STUB_ENDING": "silent"}, Reason.EVALUATION_ERROR),
        ({"STUB_ENDING": "swallow"}, Reason.ALL_ANSWERS_FAILED),
        ({"STUB_UNREACHABLE_ATTEMPTS": "1"}, Reason.UNREACHABLE),
        ({"task": "no_such_task"}, Reason.TASK_NOT_FOUND),
    ],
)
def test_an_ending(tmp_path: Path, knobs: dict[str, str], reason: Reason) -> None:
    outcome = ended(start(tmp_path / "run", cache=tmp_path, **knobs))
    assert outcome.reason is reason, outcome
    assert outcome.answers.swallowed_errors == {"suspect": 4, "swallow": 8}.get(knobs.get("STUB_ENDING", ""), 0)


def test_a_failure_that_passes(tmp_path: Path) -> None:
    outcome = ended(start(tmp_path / "run", cache=tmp_path, attempt=2, STUB_UNREACHABLE_ATTEMPTS="1"))
    assert outcome.reason is Reason.SUCCEEDED


def test_progress_is_told(tmp_path: Path) -> None:
    runner = start(tmp_path / "run", cache=tmp_path, STUB_SECONDS="2")
    runner.until(PROGRESS_FILE, '"completed":')
    assert ended(runner).timings.generation_seconds


def test_a_stubborn_one_is_killed(tmp_path: Path) -> None:
    runner = start(tmp_path / "run", cache=tmp_path, STUB_SECONDS="60", STUB_STUBBORN="1")
    runner.until(PROGRESS_FILE, '"LoadingModel"')
    asked = time.monotonic()
    runner.ask_to_end()
    assert runner.outcome().reason is Reason.INTERRUPTED
    assert 3 < time.monotonic() - asked < 15
    runner.wait()


def test_two_at_once_are_told_in_the_journal_and_one_after_a_kill_is_not(tmp_path: Path) -> None:
    first = start(tmp_path / "first", cache=tmp_path, STUB_SECONDS="60")
    first.until(PROGRESS_FILE, '"LoadingModel"')
    ended(start(tmp_path / "second", cache=tmp_path))
    assert events(tmp_path) == ["begins", "overlaps", "ends"]
    first.ask_to_end()
    first.wait()
    ended(start(tmp_path / "third", cache=tmp_path))
    assert events(tmp_path)[3:] == ["begins", "ends"]
