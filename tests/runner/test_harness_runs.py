"""The runner over the real lmms-eval, with the smoke model: each kind of ending once, and scores that repeat.

Every run starts lmms-eval anew, which takes half a minute; what does not need it is tested elsewhere.
"""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from runner_process import RunnerProcess

from lmms_eval_core.phases import Reason
from lmms_eval_core.results_file import build_score_table, parse_results
from lmms_eval_core.run import PROGRESS_FILE, Outcome, ProgressReport, Stage

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# Everything that lmms-eval's own parser of model arguments would change.
ODD_SPACES = "007\u3000full\u00a0none\u200bzero"
DIFFICULT = "A=b, \"c\" {d: [1, 2]} 'é日' 1e5,x=true"


@pytest.fixture
def smoke() -> Path:
    """The image's own; how it is made is tested in test_smoke_models."""
    return Path("/opt/lmms-eval/smoke")


def start(directory: Path, smoke: Path, *, env: dict[str, str] | None = None, **harness: Any) -> RunnerProcess:
    defaults = {"model": "dummy", "tasks": ["smoke_vqa"], "includePath": str(smoke / "tasks"), "limit": 4}
    directory.mkdir(exist_ok=True)
    environment = OFFLINE | {"HF_HOME": str(directory / "hf")} | (env or {})
    return RunnerProcess(directory, None, run={"harness": defaults | harness}, env=environment, wait_seconds=800)


def llava(directory: Path, smoke: Path, *, env: dict[str, str] | None = None, **model_args: Any) -> RunnerProcess:
    given = {"pretrained": str(smoke / "models" / "llava"), "device": "cpu", "device_map": "cpu", **model_args}
    return start(directory, smoke, env=env, model="llava_hf", modelArgs=given)


def ended(runner: RunnerProcess) -> Outcome:
    runner.publish()
    assert runner.wait() == runner.wait_for_outcome().exit_code, runner.log
    return runner.wait_for_outcome()


def test_scores_repeat_with_and_without_the_warm_start_and_progress_is_seen(tmp_path: Path, smoke: Path) -> None:
    first = llava(tmp_path / "first", smoke, env={"SMOKE_SLEEP_SECONDS": "1.5"})
    seen = ProgressReport.model_validate_json(first.wait_for_text(PROGRESS_FILE, '"completed":2'))
    assert (seen.stage, seen.total) == (Stage.EVALUATING, 4)
    assert seen.rate
    # As mmbench and others do: in lmms-eval's own folder, under a name that ends as that of its results.
    submissions = first.directory / "output" / "submissions"
    submissions.mkdir()
    (submissions / "mmbench_en_dev_results.json").write_text("[]")
    outcome = ended(first)
    assert outcome.reason is Reason.SUCCEEDED
    assert outcome.answers.samples == 4
    assert outcome.timings.load_seconds is not None
    assert (outcome.timings.generation_seconds or 0) >= 6
    assert {"lmms-eval", "torch", "transformers", "accelerate"} <= set(outcome.versions)
    # Every answer is kept for another attempt.
    assert (first.directory / "journal" / "a000001-r0.jsonl").read_text().count('"t":"smoke_vqa"') == 4
    assert "starts anew" not in first.log
    # No shortcut stepped aside, and the interpreter is taken down as ever.
    assert "lmms-eval-runner: no " not in first.log and "leaked" not in first.log
    plain = llava(tmp_path / "plain", smoke, env={"LMMS_EVAL_WARM_START": "0"})
    assert answers(plain, ended(plain)) == answers(first, outcome)


def answers(runner: RunnerProcess, outcome: Outcome) -> object:
    """The score, and every answer with all that is on record of it."""
    results = parse_results((runner.directory / str(outcome.results)).read_bytes())
    samples = (runner.directory / outcome.samples["smoke_vqa"]).read_text()
    return build_score_table(results, max_bytes=10_000).scores["smoke_vqa"]["smoke_accuracy,none"], samples


def test_model_args_arrive_as_they_are(tmp_path: Path, smoke: Path) -> None:
    runner = start(tmp_path, smoke, modelArgs={"response": DIFFICULT, "model_name": ODD_SPACES})
    outcome = ended(runner)
    assert outcome.reason is Reason.SUCCEEDED
    assert (outcome.results or "").startswith(f"output/{ODD_SPACES}/")
    (path,) = outcome.samples.values()
    answers = {json.loads(line)["filtered_resps"] for line in (runner.directory / path).read_text().splitlines()}
    assert answers == {DIFFICULT}


def test_an_unknown_task(tmp_path: Path, smoke: Path) -> None:
    outcome = ended(start(tmp_path, smoke, tasks=["smoke_vqa", "no_such_task"]))
    assert outcome.reason is Reason.TASK_NOT_FOUND
    assert "no_such_task" in outcome.message


def test_an_unknown_adapter(tmp_path: Path, smoke: Path) -> None:
    outcome = ended(start(tmp_path, smoke, model="no_such_adapter"))
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert "no_such_adapter" in outcome.message


def test_an_argument_that_the_adapter_does_not_know(tmp_path: Path, smoke: Path) -> None:
    outcome = ended(llava(tmp_path, smoke, no_such_argument=1))
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert "no_such_argument" in outcome.message


def test_a_missing_model_directory(tmp_path: Path, smoke: Path) -> None:
    outcome = ended(llava(tmp_path, smoke, pretrained="/mnt/checkpoints/run/missing"))
    assert outcome.reason is Reason.MODEL_UNAVAILABLE
    assert "/mnt/checkpoints/run/missing" in outcome.message


def test_an_exception_in_the_middle(tmp_path: Path, smoke: Path) -> None:
    outcome = ended(llava(tmp_path, smoke, env={"SMOKE_RAISE_AT": "2"}))
    assert outcome.reason is Reason.EVALUATION_ERROR
    assert "RuntimeError: smoke_vqa was told by SMOKE_RAISE_AT to fail at document 2" in outcome.message
    assert outcome.harness_exit_code == 0


def test_a_killed_child_and_the_attempt_that_goes_on(tmp_path: Path, smoke: Path) -> None:
    killed = llava(tmp_path / "first", smoke, env={"SMOKE_KILL_AT": "2"})
    outcome = ended(killed)
    assert outcome.reason is Reason.INTERRUPTED
    assert outcome.harness_exit_code == -9
    (tmp_path / "second").mkdir()
    # As the reporters do, by way of the store.
    shutil.copytree(killed.directory / "journal", tmp_path / "second" / "run" / "earlier")
    second = llava(tmp_path / "second", smoke)
    assert ended(second).reason is Reason.SUCCEEDED
    report = ProgressReport.model_validate_json((second.directory / PROGRESS_FILE).read_text())
    assert report.resumed and report.resumed.exactness == "exact"
    assert 0 < report.resumed.answers == 4 - report.journaled
    assert f"goes on after {report.resumed.answers} answers of attempts up to 1" in second.log


def test_an_endpoint_that_cannot_be_reached(tmp_path: Path, smoke: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        given = {"model_version": "m", "base_url": endpoint, "max_retries": 1}
        runner = start(tmp_path, smoke, model="openai", modelArgs=given, env={"OPENAI_API_KEY": "no-real-key-at-all"})
        outcome = ended(runner)
    assert outcome.reason is Reason.UNREACHABLE
    assert outcome.answers.failed == 4
    assert endpoint in outcome.message
