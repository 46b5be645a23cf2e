"""The stand-in for lmms-eval under the real runner: each variable has the effect that it is documented with."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS
from deployment import ROOT
from runner_process import RunnerProcess

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import PROGRESS_FILE, Outcome

STUB = ROOT / "hack" / "chaos" / "stub"
TASK = "stub_vqa"
# The kinds of the workload whose model arguments admission accepts.
PILLS = [kind for _, kind in KINDS if "modelArgs" in kind.spec and not kind.refusal]


def start(
    directory: Path,
    *,
    cache: Path,
    task: str = TASK,
    model_args: dict[str, str] | None = None,
    attempt: int = 1,
    **variables: str,
) -> RunnerProcess:
    directory.mkdir(exist_ok=True)
    env = {"PYTHONPATH": str(STUB), "HF_HOME": str(cache), "STUB_SECONDS": "0.2", **variables}
    harness = {"model": "stub", "modelArgs": model_args or {}, "tasks": [task], "limit": 4}
    run = {"harness": harness, "name": directory.name, "attempt": attempt}
    return RunnerProcess(directory, None, run=run, env=env)


def wait_for_outcome(runner: RunnerProcess) -> Outcome:
    runner.publish()
    assert runner.wait() == runner.wait_for_outcome().exit_code, runner.log
    return runner.wait_for_outcome()


def read_events(cache: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (cache / "stub" / "journal.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, Reason.SUCCEEDED),
        ({"STUB_ENDING": "suspect"}, Reason.SUCCEEDED),
        ({"STUB_ENDING": "raise"}, Reason.EVALUATION_ERROR),
        ({"STUB_ENDING": "silent"}, Reason.EVALUATION_ERROR),
        ({"STUB_ENDING": "swallow"}, Reason.ALL_ANSWERS_FAILED),
        ({"STUB_UNREACHABLE_ATTEMPTS": "1"}, Reason.UNREACHABLE),
        ({"task": "no_such_task"}, Reason.TASK_NOT_FOUND),
        *(({"model_args": kind.spec["modelArgs"]}, kind.end) for kind in PILLS),
    ],
)
def test_a_run_ends_as_its_variables_say(tmp_path: Path, variables: dict[str, Any], reason: Reason) -> None:
    outcome = wait_for_outcome(start(tmp_path / "run", cache=tmp_path, **variables))
    assert outcome.reason is reason, outcome
    swallowed = {"suspect": 4, "swallow": 8}.get(variables.get("STUB_ENDING", ""), 0)
    assert outcome.answers.swallowed_errors == swallowed


def test_an_unreachable_attempt_is_followed_by_a_good_one(tmp_path: Path) -> None:
    outcome = wait_for_outcome(start(tmp_path / "run", cache=tmp_path, attempt=2, STUB_UNREACHABLE_ATTEMPTS="1"))
    assert outcome.reason is Reason.SUCCEEDED


def test_progress_is_reported(tmp_path: Path) -> None:
    runner = start(tmp_path / "run", cache=tmp_path, STUB_SECONDS="2")
    runner.wait_for_text(PROGRESS_FILE, '"completed":')
    assert wait_for_outcome(runner).timings.generation_seconds


def test_a_run_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    runner = start(tmp_path / "run", cache=tmp_path, STUB_SECONDS="60", STUB_STUBBORN="1")
    runner.wait_for_text(PROGRESS_FILE, '"LoadingModel"')
    requested = time.monotonic()
    runner.send_sigterm()
    assert runner.wait_for_outcome().reason is Reason.INTERRUPTED
    assert 3 < time.monotonic() - requested < 15
    runner.wait()


def test_the_journal_reports_an_overlap_but_no_run_after_a_kill(tmp_path: Path) -> None:
    first = start(tmp_path / "first", cache=tmp_path, STUB_SECONDS="60")
    first.wait_for_text(PROGRESS_FILE, '"LoadingModel"')
    wait_for_outcome(start(tmp_path / "second", cache=tmp_path))
    assert read_events(tmp_path) == ["begins", "overlaps", "ends"]
    first.send_sigterm()
    first.wait()
    wait_for_outcome(start(tmp_path / "third", cache=tmp_path))
    assert read_events(tmp_path)[3:] == ["begins", "ends"]
