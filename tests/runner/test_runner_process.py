"""The runner from start to exit code: what counts as success, the handshake, the end by a signal,
nothing left behind.
"""

import json
import re
import time
from pathlib import Path

import pytest
from runner_process import RunnerProcess

from lmms_eval_core.phases import Reason
from lmms_eval_core.redact import HIDDEN
from lmms_eval_core.run import OUTCOME_FILE, PROGRESS_FILE, PUBLISHED_FILE, RUN_FILE, ProgressReport, RunRecord, Stage
from lmms_eval_runner.meter import MARKS_FILE

pytestmark = pytest.mark.timeout(120)

SUCCESS = "print('working'); results(); sample('A')"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "


def alive(pid: int) -> bool:
    """Whether it runs: one that was ended may wait a moment for whoever asks how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_that_is_published_is_a_success(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS)
    outcome = runner.wait_for_outcome()
    assert (outcome.reason, outcome.exit_code, outcome.message) == (Reason.SUCCEEDED, 0, "")
    assert outcome.results == "output/model/20261123_070000_results.json"
    assert outcome.samples == {"t": "output/model/20261123_070000_samples_t.jsonl"}
    assert outcome.answers.samples == 1
    assert outcome.timings.total_seconds
    assert runner.process.poll() is None
    assert (
        ProgressReport.model_validate_json(runner.wait_for_text(PROGRESS_FILE, "Publishing")).stage is Stage.PUBLISHING
    )
    runner.publish()
    assert runner.wait() == 0
    assert "working\n" in runner.log
    assert runner.log == runner.output.read_text()


def test_what_is_published_before_the_start_is_not_computed_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PUBLISHED_FILE).write_text("an earlier attempt had finished\n")
    started = tmp_path / "started"
    run = RunnerProcess(tmp_path, f"pathlib.Path({str(started)!r}).touch(); results()")
    assert run.wait() == 0
    assert not started.exists() and not (run.directory / OUTCOME_FILE).exists()


def test_the_input_is_on_record(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS, run={"gpus": 2})
    record = RunRecord.model_validate_json(runner.wait_for_text(RUN_FILE))
    assert record.gpus == 2
    assert record.input_fingerprint == record.compute_fingerprint()
    runner.publish()
    assert runner.wait() == 0


def test_a_success_that_nobody_publishes_is_none(tmp_path: Path) -> None:
    assert RunnerProcess(tmp_path, SUCCESS, run={"publishTimeoutSeconds": 1}).wait() == 73


def test_exit_code_zero_alone_means_nothing(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, "print('all fine')")
    outcome = runner.wait_for_outcome()
    runner.publish()
    assert runner.wait() == 70
    assert outcome.message.endswith("the last it said: all fine")


def test_results_of_an_earlier_attempt_do_not_count(tmp_path: Path) -> None:
    stale = tmp_path / "run" / "output" / "model"
    stale.mkdir(parents=True)
    (stale / "20261122_070000_results.json").write_text('{"results": {}}')
    runner = RunnerProcess(tmp_path, "pass")
    runner.publish()
    assert runner.wait() == 70


def test_half_a_results_file_is_no_success(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, "(output / '20261123_070000_results.json').write_text('{\"results\":')")
    runner.publish()
    assert runner.wait() == 70
    assert "not JSON" in runner.wait_for_outcome().message


def test_the_submission_file_of_a_task_is_not_taken_for_the_results(tmp_path: Path) -> None:
    submission = (
        "(output / 'submissions').mkdir(); (output / 'submissions' / 'mmbench_en_dev_results.json').write_text('[]')"
    )
    runner = RunnerProcess(tmp_path, f"{submission}; {SUCCESS}")
    runner.publish()
    assert runner.wait() == 0
    assert runner.wait_for_outcome().results == "output/model/20261123_070000_results.json"


def test_a_crash_after_the_results_is_told_and_changes_nothing(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, f"{SUCCESS}; os.abort()")
    runner.publish()
    assert runner.wait() == 0
    assert runner.wait_for_outcome().message == "lmms-eval ended with exit code -6 after it had written its results"


def test_answers_that_all_failed_are_no_success(tmp_path: Path) -> None:
    failed = "sample('[LMMS_EVAL_REQUEST_FAILED after 2 retries] something odd')"
    runner = RunnerProcess(tmp_path, f"results(); {failed}; {failed}")
    runner.publish()
    assert runner.wait() == 72
    outcome = runner.wait_for_outcome()
    assert outcome.message == "not one of 2 answers is a real one: something odd"
    assert outcome.results


def test_a_killed_harness_is_an_interruption(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    runner.publish()
    assert runner.wait() == 75
    assert runner.wait_for_outcome().harness_exit_code == -9


def importing_with_weights(directory: Path, *, size: int) -> RunnerProcess:
    """A harness that imports for ever; the weights are a hole, which takes no room on the disk."""
    with (directory / "model.safetensors").open("wb") as file:
        file.truncate(size)
    harness = {"model": "m", "tasks": ["t"], "modelArgs": {"pretrained": str(directory)}}
    return RunnerProcess(directory, "time.sleep(600)", run={"harness": harness})


def bytes_read(runner: RunnerProcess) -> int:
    """By the process itself, so far."""
    lines = Path(f"/proc/{runner.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))


def read_in_half_a_second(runner: RunnerProcess) -> int:
    before = bytes_read(runner)
    time.sleep(0.5)
    return bytes_read(runner) - before


def told_in_the_end(runner: RunnerProcess) -> float:
    """Gigabytes, as the log tells."""
    runner.send_sigterm()
    runner.wait()
    (found,) = re.findall(
        r"^lmms-eval-runner: ([\d.]+) GB of weights were read ahead in [\d.]+ s$", runner.log, re.MULTILINE
    )
    return float(found)


JOURNAL = """
journal = output.parent / "journal" / "a00000{attempt}-r0.jsonl"
lines = [{{"v": 1, "header": {{"attempt": {attempt}, "rank": 0, "parts": {{}}}}}}, *{lines}]
journal.write_text("".join(json.dumps(line) + chr(10) for line in lines))
print("Traceback (most recent call last):")
print('  File "/x/lmms_eval/evaluator.py", line 1229, in evaluate')
print({text!r})
"""
ANSWERED = {"b": [{"id": "a" * 20, "a": [{"t": "t", "s": "x"}]}], "at": 1, "s": 1}
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
GPU_ASSERT = "torch.AcceleratorError: CUDA error: device-side assert triggered"


@pytest.mark.parametrize(
    ("answers", "text", "failed_before", "reason", "words"),
    [
        ([ANSWERED], OUT_OF_MEMORY, "c", Reason.INTERRUPTED, "another attempt goes on with the batch that failed"),
        ([ANSWERED], OUT_OF_MEMORY, "b", Reason.OUT_OF_MEMORY, "; or set spec.batchSize to 4"),
        ([], OUT_OF_MEMORY, "c", Reason.OUT_OF_MEMORY, "the GPU ran out of memory"),
        ([ANSWERED], GPU_ASSERT, "c", Reason.GPU_ERROR, "device-side assert"),
        ([ANSWERED], GPU_ASSERT, "b", Reason.EVALUATION_ERROR, "the same batch failed in the attempt before"),
    ],
)
def test_a_failure_is_final_where_the_same_batch_or_the_first_one_fails(
    tmp_path: Path, answers: list[object], text: str, failed_before: str, reason: Reason, words: str
) -> None:
    earlier = tmp_path / "run" / "earlier"
    earlier.mkdir(parents=True)
    header = {"v": 1, "header": {"attempt": 1, "rank": 0, "parts": {}}}
    failed = {"f": [failed_before * 20], "r": "OutOfMemory"}
    (earlier / "a000001-r0.jsonl").write_text(f"{json.dumps(header)}\n{json.dumps(failed)}\n")
    lines = [*answers, {"n": ["b" * 20]}, {"f": ["b" * 20], "r": "OutOfMemory"}]
    harness = {"model": "dummy", "tasks": ["t"], "batchSize": 8}
    script = JOURNAL.format(attempt=2, lines=lines, text=text)
    runner = RunnerProcess(tmp_path, script, run={"attempt": 2, "gpus": 1, "harness": harness})
    outcome = runner.wait_for_outcome()
    assert outcome.reason is reason and words in outcome.message
    runner.publish()
    assert runner.wait() == outcome.exit_code


def test_weights_are_read_while_the_harness_imports(tmp_path: Path) -> None:
    runner = importing_with_weights(tmp_path, size=256 << 20)
    while bytes_read(runner) < 256 << 20:
        time.sleep(0.05)
    assert told_in_the_end(runner) == 0.3


def test_weights_are_not_read_any_more_when_the_harness_loads(tmp_path: Path) -> None:
    # More than is read before it is told to stop, however late that comes.
    runner = importing_with_weights(tmp_path, size=256 << 30)
    while bytes_read(runner) < 64 << 20:
        time.sleep(0.05)
    (runner.directory / MARKS_FILE).touch()
    deadline = time.monotonic() + 30
    while read_in_half_a_second(runner) >= 1 << 20:
        assert time.monotonic() < deadline
    assert told_in_the_end(runner) < 256


def test_model_args_that_could_not_be_handed_over_are_no_success(tmp_path: Path) -> None:
    harness = {"model": "dummy", "tasks": ["t"], "modelArgs": {"prompt": "a,b"}}
    runner = RunnerProcess(tmp_path, SUCCESS, run={"harness": harness})
    runner.publish()
    assert runner.wait() == 64
    assert "lmms_eval_runner_progress" in runner.wait_for_outcome().message


@pytest.mark.parametrize(
    ("harness", "code", "words"),
    [
        ({"model": "dummy", "tasks": ["list"]}, 65, "'list' is not a task"),
        ({"model": "dummy", "tasks": ["t"], "systemInstruction": "\0"}, 64, "NUL"),
    ],
)
def test_what_cannot_be_run_is_not_started(tmp_path: Path, harness: dict[str, object], code: int, words: str) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS, run={"harness": harness})
    runner.publish()
    assert runner.wait() == code
    assert words in runner.wait_for_outcome().message


def test_an_input_that_is_none_is_told(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS, env={"LMMS_EVAL_RUN": '{"namespace": "n"}'})
    assert runner.wait() == 64
    assert "LMMS_EVAL_RUN does not hold a run: name" in runner.wait_for_outcome().message


def test_secrets_stay_in_the_environment(tmp_path: Path) -> None:
    secret = "zq81-hidden-value"
    script = "print('judge', os.environ['JUDGE'], flush=True); raise RuntimeError('bad ' + os.environ['JUDGE'])"
    runner = RunnerProcess(tmp_path, script, run={"secretEnv": ["JUDGE"]}, env={"JUDGE": secret})
    runner.publish()
    assert runner.wait() == 70
    assert runner.wait_for_outcome().message == f"the evaluation raised RuntimeError: bad {HIDDEN}"
    assert f"judge {HIDDEN}" in runner.log
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in everything if secret in path.read_text(errors="replace")]


def test_an_answer_that_is_a_secret_is_hidden_before_anybody_reads_it(tmp_path: Path) -> None:
    secret = "zq81-hidden-value"
    script = "results(config={'note': os.environ['JUDGE']}); sample([os.environ['JUDGE']])"
    runner = RunnerProcess(tmp_path, script, run={"secretEnv": ["JUDGE"]}, env={"JUDGE": secret})
    runner.publish()
    assert runner.wait() == 0
    written = [path for path in (runner.directory / "output").rglob("*") if path.is_file()]
    assert len(written) == 2
    for path in written:
        assert HIDDEN in path.read_text() and secret not in path.read_text()
        assert f"a secret was hidden in {path.name}" in runner.log


def test_a_request_to_end_ends_everything_quickly(tmp_path: Path) -> None:
    grandchild = (
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True); print('pids', os.getpid(), "
        "child.pid, flush=True)"
    )
    runner = RunnerProcess(tmp_path, f"{STUBBORN}{grandchild}; time.sleep(600)")
    pids = [int(word) for word in runner.wait_for_text("log.txt", "pids").split("pids ")[1].split()[:2]]
    asked = time.monotonic()
    runner.send_sigterm()
    assert runner.wait() == 75
    assert time.monotonic() - asked < 15
    assert runner.wait_for_outcome().reason is Reason.INTERRUPTED
    assert not [pid for pid in pids if alive(pid)]


def test_what_the_harness_leaves_behind_is_ended(tmp_path: Path) -> None:
    daemon = (
        "subprocess.run(['setsid', '-f', 'sh', '-c', 'echo $$ > \"$0\"; exec sleep 600', str(output / 'daemon.txt')])"
    )
    started = "while not list(output.glob('daemon.txt')) or not (output / 'daemon.txt').read_text(): time.sleep(0.05)"
    runner = RunnerProcess(tmp_path, f"{daemon}\n{started}\n{SUCCESS}")
    runner.wait_for_outcome()
    assert not alive(int((runner.directory / "output" / "daemon.txt").read_text()))
    runner.publish()
    assert runner.wait() == 0


def test_a_finished_result_waits_even_when_asked_to_end(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS)
    runner.wait_for_outcome()
    runner.send_sigterm()
    time.sleep(0.5)
    assert runner.process.poll() is None
    runner.publish()
    assert runner.wait() == 0


def test_a_failure_does_not_wait_when_asked_to_end(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, "raise SystemExit(3)")
    runner.wait_for_outcome()
    runner.send_sigterm()
    assert runner.wait() == 70


def test_an_outcome_that_cannot_be_written_still_has_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "run" / "outcome.json").mkdir(parents=True)
    runner = RunnerProcess(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    runner.publish()
    assert runner.wait() == 75
    assert "the outcome could not be written" in runner.output.read_text()


def test_json_of_the_outcome_is_what_the_reporter_reads(tmp_path: Path) -> None:
    runner = RunnerProcess(tmp_path, SUCCESS)
    runner.wait_for_outcome()
    written = json.loads((runner.directory / "outcome.json").read_text())
    assert set(written) >= {"reason", "exitCode", "answers", "timings", "versions", "samples", "results"}
    runner.publish()
    assert runner.wait() == 0
