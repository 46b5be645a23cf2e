"""The stand-in for lmms-eval under the real runner: each variable has the effect that it is documented with."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from chaos.planned_evaluations import KINDS
from chaos.stub.lmms_eval.answers import compute_undisturbed_scores
from chaos.stub.lmms_eval.behaviour import StubEnding
from deployment import ROOT
from runner_process import RunnerProcess

from lmms_eval_core.journal import JournalName
from lmms_eval_core.phases import Reason
from lmms_eval_core.results_file import build_score_table
from lmms_eval_core.run import (
    EARLIER_DIRECTORY,
    JOURNAL_DIRECTORY,
    PROGRESS_FILE,
    Outcome,
    ProgressReport,
    ResumedAnswers,
)

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
    limit: int = 4,
    resume: str = "sameHardware",
    **variables: str,
) -> RunnerProcess:
    directory.mkdir(exist_ok=True)
    env = {"PYTHONPATH": str(STUB), "HF_HOME": str(cache), "STUB_SECONDS": "0.2", **variables}
    harness = {"model": "stub", "modelArgs": model_args or {}, "tasks": [task], "limit": limit}
    run = {"harness": harness, "name": directory.name, "attempt": attempt, "resume": resume}
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


def read_results(runner: RunnerProcess) -> dict[str, Any]:
    """The scores and samples that lmms-eval's files would have."""
    (results,), (samples,) = (
        list((runner.directory / "output").glob(f"stub/*{kind}")) for kind in ("_results.json", ".jsonl")
    )
    return {"results": json.loads(results.read_text())["results"], "samples": samples.read_text()}


@pytest.mark.parametrize("ending", [StubEnding.WELL, StubEnding.SUSPECT])
def test_a_killed_run_goes_on_where_it_was_and_has_the_scores_of_an_undisturbed_one(
    tmp_path: Path, ending: StubEnding
) -> None:
    variables: dict[str, Any] = {"STUB_ENDING": ending}
    killed = start(tmp_path / "a", cache=tmp_path, **variables, STUB_SECONDS="3")
    killed.wait_for_text(f"{JOURNAL_DIRECTORY}/{JournalName(1, 0)}", '"d":2')
    killed.send_sigterm()
    killed.wait()
    (journal,) = (killed.directory / JOURNAL_DIRECTORY).iterdir()
    kept = journal.read_bytes().count(b'{"b":')
    # As the reporter does; the last line was cut.
    earlier = tmp_path / "b" / "run" / EARLIER_DIRECTORY
    earlier.mkdir(parents=True)
    (earlier / journal.name).write_bytes(journal.read_bytes() + b'{"b":[')
    second = start(tmp_path / "b", cache=tmp_path, attempt=2, **variables)
    undisturbed = start(tmp_path / "c", cache=tmp_path, **variables)
    for runner in (second, undisturbed):
        assert wait_for_outcome(runner).reason is Reason.SUCCEEDED
    assert read_results(second) == read_results(undisturbed)
    report = ProgressReport.model_validate_json((second.directory / PROGRESS_FILE).read_text())
    assert report.resumed == ResumedAnswers(answers=kept, from_attempt=1, exactness="exact") and kept
    assert report.journaled + kept == (8 if ending is StubEnding.WELL else 4)


@pytest.mark.parametrize(
    ("policy", "limit", "anew"), [("never", 4, ""), ("sameHardware", 5, "run differs from attempt 1")]
)
def test_answers_of_another_run_do_not_count(tmp_path: Path, policy: str, limit: int, anew: str) -> None:
    first = start(tmp_path / "a", cache=tmp_path)
    wait_for_outcome(first)
    earlier = tmp_path / "b" / "run" / EARLIER_DIRECTORY
    shutil.copytree(first.directory / JOURNAL_DIRECTORY, earlier)
    second = start(tmp_path / "b", cache=tmp_path, attempt=2, resume=policy, limit=limit)
    wait_for_outcome(second)
    report = ProgressReport.model_validate_json((second.directory / PROGRESS_FILE).read_text())
    assert (report.resumed, report.started_anew, report.journaled) == (None, anew, 8)


def test_the_scores_in_the_status_are_those_that_a_campaign_expects(tmp_path: Path) -> None:
    runner = start(tmp_path / "run", cache=tmp_path, STUB_ENDING="suspect")
    wait_for_outcome(runner)
    (table, _) = build_score_table(read_results(runner))
    values = {task: {name: metric.value for name, metric in metrics.items()} for task, metrics in table.items()}
    assert values == compute_undisturbed_scores(StubEnding.SUSPECT) != compute_undisturbed_scores(StubEnding.WELL)


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
    assert 3 < time.monotonic() - requested < 45
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
