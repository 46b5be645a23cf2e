"""`lmmeval` as its own process on a pipe, against the front end on a real API server."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from command_fixtures import CommandLine
from job_states import complete_job, fail_job, start_job

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SUBMIT = (
    "submit",
    "--model",
    "llava_hf",
    "--model_args",
    "pretrained=a/b,max_pixels=9",
    "--tasks",
    "mme",
    "--limit",
    "8",
)


def words(process: "subprocess.Popen[str]", text: str) -> str:
    """What it says on standard error up to this."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


async def test_a_submission_prints_its_id_and_nothing_else(command_line: CommandLine, client: Transport) -> None:
    spelled = ["--batch-size=2", "--num_fewshot", "0", "--gpus", "0", "--priority", "3", "--hold", "--label", "run=7"]
    secret = ["--env", "HF_TOKEN=lmms-eval-env-hub/token", "--cpu", "4", "--retries", "1", "--no-log_samples"]
    done = command_line(*SUBMIT, *spelled, *secret, "--resume", "never")
    assert done.returncode == 0, done.stderr
    (job,) = done.stdout.splitlines()
    assert "Job queued successfully" in done.stderr
    document = await client.get(EVALUATIONS, job)
    spec = document["spec"]
    assert spec["modelArgs"] == {"pretrained": "a/b", "max_pixels": 9}
    assert (spec["tasks"], spec["limit"], spec["batchSize"], spec["numFewshot"], spec["gpus"]) == (
        ["mme"],
        8,
        "2",
        0,
        0,
    )
    assert (spec["priority"], spec["hold"], spec["retries"], spec["logSamples"]) == (3, True, 1, False)
    assert spec["resume"] == "never"
    assert spec["env"] == [{"name": "HF_TOKEN", "secretKeyRef": {"name": "lmms-eval-env-hub", "key": "token"}}]
    assert (spec["resources"], document["metadata"]["labels"]["run"]) == ({"cpu": "4"}, "7")


async def test_waiting_ends_with_the_scores_and_zero(command_line: CommandLine, client: Transport) -> None:
    process = command_line.start(*SUBMIT, "--name", "good", "--wait")
    words(process, "queued (WaitingForTurn), 0 before it")
    await start_job(client, "good")
    words(process, "running (Evaluating), 8/32 25%")
    await complete_job(client, "good")
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out.strip()) == (0, "mme 0.5")
    assert "good: completed (Succeeded)" in said and "\x1b" not in said


async def test_a_failure_ends_with_one_and_its_reason(command_line: CommandLine, client: Transport) -> None:
    process = command_line.start(*SUBMIT, "--name", "bad", "--wait")
    words(process, "queued")
    await fail_job(client, "bad")
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "lmmeval: Job failed: TaskNotFound: lmms-eval has no task 'nope'." in said and "Traceback" not in said


def test_a_cancelled_job_ends_with_three_and_a_long_wait_with_four(command_line: CommandLine) -> None:
    command_line.answer(*SUBMIT, "--name", "job")
    waited = command_line("watch", "job", "--wait-timeout", "0.5")
    assert (waited.returncode, waited.stderr.splitlines()[-1]) == (4, "lmmeval: Timeout waiting for job job")
    assert command_line.answer("cancel", "job") == "Job job cancelled\n"
    assert command_line("watch", "job").returncode == 3
    again = command_line("cancel", "job")
    assert (again.returncode, again.stderr) == (
        2,
        "job: Job already finished or cancelled (HTTP 400)\nlmmeval: Job already finished or cancelled\n",
    )


def test_an_interrupted_wait_leaves_the_job_and_says_how_to_go_on(command_line: CommandLine) -> None:
    process = command_line.start(*SUBMIT, "--name", "job", "--wait")
    words(process, "queued (WaitingForTurn)")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "lmmeval watch job" in said and "lmmeval cancel job" in said and "Traceback" not in said
    assert json.loads(command_line.answer("get", "job", "--json"))["status"] == "queued"


def test_a_dry_run_stores_nothing(command_line: CommandLine) -> None:
    done = command_line(*SUBMIT, "--name", "job", "--dry-run")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "job: Nothing was stored: dry run.\n")
    assert command_line("get", "job").stderr == "lmmeval: Job job not found\n"


def test_a_file_is_submitted_and_flags_win_over_it(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "- {model: llava_hf, model_args: pretrained=a/b, tasks: 'mme,mmmu_val', limit: 4}\n- {model: vllm, tasks: "
        "mme}\n"
    )
    jobs = command_line.answer("submit", "-f", str(file), "--limit", "2").split()
    requests = [json.loads(command_line.answer("get", job, "--json"))["request"] for job in jobs]
    assert [(request["model"], request["tasks"], request["limit"]) for request in requests] == [
        ("llava_hf", ["mme", "mmmu_val"], 2),
        ("vllm", ["mme"], 2),
    ]


async def test_several_are_waited_for_and_the_first_failure_decides(
    command_line: CommandLine, client: Transport, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "".join(
            f"- {{model: llava_hf, model_args: pretrained=a/b, tasks: mme, name: {name}}}\n" for name in ("one", "two")
        )
    )
    process = command_line.start("submit", "-f", str(file), "--wait")
    words(process, "one: queued (WaitingForTurn)")
    await fail_job(client, "one")
    words(process, "one: Job failed: TaskNotFound")
    await complete_job(client, "two")
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "mme 0.5\n")
    assert said.splitlines()[-1].startswith("lmmeval: Job failed: TaskNotFound")


async def test_a_job_is_run_again_with_a_change(command_line: CommandLine) -> None:
    command_line.answer(*SUBMIT, "--name", "job", "--priority", "3")
    again = command_line.answer("rerun", "job", "--limit", "2").strip()
    request = json.loads(command_line.answer("get", again, "--json"))["request"]
    assert again != "job"
    assert (request["model_args"]["max_pixels"], request["limit"], request["priority"]) == (9, 2, 3)


async def test_jobs_are_listed_in_columns(command_line: CommandLine, client: Transport) -> None:
    for name in ("one", "two", "three"):
        command_line.answer(*SUBMIT, "--name", name, "--label", f"for={name}")
    command_line.answer("update", "three", "--hold")
    await complete_job(client, "one")
    lines = command_line.answer("ls").splitlines()
    assert lines[0].split() == ["JOB", "STATUS", "REASON", "MODEL", "TASKS", "PROGRESS", "SCORE", "AGE"]
    assert {line.split()[0] for line in lines[1:]} == {"one", "two", "three"}
    assert [line.split()[:2] for line in command_line.answer("ls", "--status", "completed").splitlines()[1:]] == [
        ["one", "completed"]
    ]
    assert [job["job_id"] for job in json.loads(command_line.answer("ls", "--label", "for=two", "--json"))] == ["two"]
    assert [line.split()[:2] for line in command_line.answer("queue").splitlines()[1:]] == [
        ["0", "two"],
        ["on", "hold"],
    ]
    assert json.loads(command_line.answer("queue", "--json"))["completed_jobs"] == 1
    top = command_line.answer("top").splitlines()
    assert top[0] == "0 running, 2 queued, 1 completed, 0 failed" and len(top) == 5
    assert command_line("ls", "--status", "failed").stderr == "No jobs.\n"


async def test_a_job_is_described(command_line: CommandLine, client: Transport) -> None:
    command_line.answer(*SUBMIT, "--name", "job", "--label", "run=7", "--priority", "2")
    await fail_job(client, "job")
    text = command_line.answer("get", "job")
    for line in (
        "State:     failed (TaskNotFound)",
        "Priority:  2",
        "Labels:    run=7",
        "lmms-eval has no task 'nope'.",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("get", "none"), 2, "Job none not found"),
        (("submit", "--tasks", "mme"), 2, "Say which model by --model"),
        (("submit", "--model", "m", "--tasks", "t", "--model_args", "x"), 2, "--model_args takes pretrained="),
        (("submit", "--model", "m", "--tasks", "t", "--limit", "-3"), 2, "limit"),
        (("submit", "--model", "m", "--tasks", "t", "--env", "A=b"), 2, "NAME=secret/KEY"),
        (("submit", "-f", "/no/such/file"), 2, "cannot be read"),
        (("update", "job"), 2, "Say what to change"),
        (("results", "none"), 2, "Job none not found"),
        (("samples", "none", "--wrong", "--empty"), 2, "not both"),
        (("samples", "none", "mme", "--doc", "1", "--wrong"), 2, "--doc alone"),
        (("samples", "none", "mme", "--media", "folder"), 2, "--media with --doc"),
        (("ls", "--token", "wrong"), 6, "--token or LMMS_EVAL_TOKEN"),
        (("ls", "--url", "nonsense"), 2, "must be a whole URL"),
        (("frobnicate",), 2, "No such command"),
    ],
)
def test_errors_are_sentences(command_line: CommandLine, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    done = command_line(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stderr.isascii(), "frames or colours in a pipe"
