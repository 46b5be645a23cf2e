"""`lmmeval` against the installed chart, by kubeconfig alone: what a newcomer does after helm install, and what CI
does.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_fixtures import CommandLine
from deployment import ROOT
from release_fixtures import SMOKE, TASK, Release

from lmms_eval_client.cli.exits import ExitCode

pytestmark = pytest.mark.system

RUN_SECONDS = 300
MODEL = ("--model", "llava_hf", "--model_args", f"pretrained={SMOKE}/models/llava,device=cpu,device_map=cpu")
SUBMIT = ("submit", *MODEL, "--tasks", TASK, "--include_path", f"{SMOKE}/tasks", "--limit", "4", "--batch_size", "1")
SLOW = (*SUBMIT, "--env-value", "SMOKE_SLEEP_SECONDS=2")
# Cancelled long before its end, however slow the machine is.
LONG = (*SUBMIT, "--env-value", "SMOKE_SLEEP_SECONDS=60")


@pytest.fixture
def lmmeval(release: Release, tmp_path: Path) -> CommandLine:
    """The command with nothing but a kubeconfig and kubectl; its current namespace is the release's."""
    kubectl = release.deployment.kubectl
    (tmp_path / "kubectl").symlink_to(kubectl.binary)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(Path(kubectl.kubeconfig).read_text())
    command = [
        kubectl.binary,
        f"--kubeconfig={kubeconfig}",
        "config",
        "set-context",
        "--current",
        f"--namespace={release.deployment.namespace}",
    ]
    subprocess.run(command, check=True, capture_output=True)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return CommandLine({"PATH": path, "KUBECONFIG": str(kubeconfig), "HOME": str(tmp_path)}, seconds=RUN_SECONDS)


def line(process: "subprocess.Popen[str]", words: str) -> str:
    """Reads what it says up to a line with these words."""
    assert process.stderr is not None
    said = ""
    for text in process.stderr:
        said += text
        if words in text:
            return text
    raise AssertionError(said)


def test_a_newcomer_gets_scores(lmmeval: CommandLine) -> None:
    done = lmmeval("submit", "-f", str(ROOT / "examples" / "smoke.yaml"), "--gpus", "0", "--name", "first", "--wait")
    assert done.returncode == ExitCode.COMPLETED, done.stderr
    assert done.stdout.startswith("|") and TASK in done.stdout and "first: completed (Succeeded)" in done.stderr


def test_what_a_run_left_is_read(lmmeval: CommandLine, release: Release) -> None:
    done = lmmeval(*SUBMIT, "--name", "left", "--wait")
    assert done.returncode == ExitCode.COMPLETED, done.stderr
    assert lmmeval.answer("results", "left") == done.stdout
    output = json.loads(lmmeval.answer("results", "left", "--json"))
    scores = release.read_status("left")["scores"][TASK]
    assert {metric: value for metric, value in output["results"][TASK].items() if metric in scores} == {
        metric: score["value"] for metric, score in scores.items()
    }
    assert len(lmmeval.answer("results", "left", "--csv").splitlines()) == 1 + len(scores)
    samples = [json.loads(text) for text in lmmeval.answer("samples", "left", "--limit", "0").splitlines()]
    assert [sample["doc_id"] for sample in samples] == [0, 1, 2, 3]
    log = lmmeval.answer("logs", "left")
    assert done.stdout in log, "it is what lmms-eval itself printed"
    assert log.startswith("lmms-eval-runner: attempt 1") and lmmeval.answer("logs", "left", "--tail", "1") in log
    assert "left" in lmmeval.answer("ls", "--status", "completed", "--task", TASK)


def test_a_log_is_followed_from_before_there_is_one_until_its_end(lmmeval: CommandLine) -> None:
    lmmeval.answer(*SLOW, "--name", "followed")
    assert lmmeval.answer("logs", "-f", "followed") == lmmeval.answer("logs", "followed")
    # The status may come after the last line.
    lmmeval.answer("watch", "followed")
    assert json.loads(lmmeval.answer("get", "followed", "--json"))["status"] == "completed"


def test_a_running_one_is_cancelled(lmmeval: CommandLine) -> None:
    process = lmmeval.start(*LONG, "--name", "stopped", "--wait")
    line(process, "running (Evaluating)")
    assert lmmeval.answer("cancel", "stopped") == "Job stopped is being cancelled\n"
    _, said = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, "stopped: cancelled" in said) == (ExitCode.CANCELLED, True)


def test_a_failure_names_its_culprit(lmmeval: CommandLine) -> None:
    done = lmmeval("submit", *MODEL, "--tasks", "no_such_task", "--name", "failed", "--wait")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, "")
    assert (
        "TaskNotFound" in done.stderr
        and "no_such_task" in done.stderr
        and "Traceback (most recent" not in done.stderr.splitlines()[0]
    )


def test_a_wait_goes_on_when_the_front_end_is_replaced(lmmeval: CommandLine, release: Release) -> None:
    process = lmmeval.start(*SLOW, "--name", "kept", "--wait")
    line(process, "queued")
    release.deployment("delete", "pod", "-l", "app.kubernetes.io/component=api", "--wait=false")
    out, said = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, TASK in out) == (ExitCode.COMPLETED, True), said


def test_an_interrupted_wait_leaves_no_tunnel_and_the_job(lmmeval: CommandLine) -> None:
    process = lmmeval.start(*LONG, "--name", "left-alone", "--wait")
    line(process, "running (")
    (tunnel,) = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "lmmeval watch left-alone" in said) == (ExitCode.INTERRUPTED, True)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{tunnel}").exists():
        assert time.monotonic() < deadline, "kubectl port-forward runs on"
        time.sleep(0.1)
    assert lmmeval("cancel", "left-alone").returncode == 0
    assert lmmeval("watch", "left-alone").returncode == ExitCode.CANCELLED


def test_a_plug_in_of_kubectl_does_the_same(lmmeval: CommandLine, tmp_path: Path) -> None:
    plug_in = tmp_path / "kubectl-lmmeval"
    plug_in.write_text('#!/bin/sh\nexec "$PYTHON" -m lmms_eval_client.cli "$@"\n')
    plug_in.chmod(0o755)
    environment = lmmeval.environment | {"PYTHON": lmmeval.command[0]}
    done = subprocess.run(
        ["kubectl", "lmmeval", "queue", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    assert "queue_size" in json.loads(done.stdout)


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
