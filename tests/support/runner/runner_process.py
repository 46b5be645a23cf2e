"""The runner as a process of its own, over the real lmms-eval (harness tier), or over a harness that is one script.

Most of what the runner does must not depend on lmms-eval. A script sees `output`, where lmms-eval would write, and the
helpers `results` and `sample`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from forked_process import ForkedProcess

from lmms_eval_core.run import LOG_FILE, OUTCOME_FILE, PUBLISHED_FILE, RUN_FILE, Outcome

STAND_IN = """\
import json, os, pathlib, signal, subprocess, sys, time
output = pathlib.Path(next(word for word in sys.argv if word.startswith("--output_path=")).split("=", 1)[1])

def results(**fields):
    (output / "model").mkdir(exist_ok=True)
    content = {"results": {"t": {"score,none": 1}}, **fields}
    (output / "model" / "20261123_070000_results.json").write_text(json.dumps(content))

def sample(answer):
    with (output / "model" / "20261123_070000_samples_t.jsonl").open("a") as file:
        file.write(json.dumps({"filtered_resps": answer}) + "\\n")

exec(os.environ["HARNESS_SCRIPT"])
"""
WAIT_SECONDS = 60.0


class RunnerProcess:
    """One run in `directory`; `script` is what the harness does, None for the real one."""

    def __init__(
        self,
        directory: Path,
        script: str | None,
        *,
        run: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.directory, self._wait_seconds = directory / "run", wait_seconds
        self.directory.mkdir(exist_ok=True)
        given = {
            "LMMS_EVAL_RUN_DIRECTORY": str(self.directory),
            "LMMS_EVAL_RUN": json.dumps(build_run_input(**(run or {}))),
        }
        if script is not None:
            given |= {"PYTHONPATH": str(write_stand_in(directory / "stand-in")), "HARNESS_SCRIPT": script}
        given |= env or {}
        self.output = directory / "stdout.txt"
        # What stands in for lmms-eval is found by this variable.
        self.process = _fork(given, self.output) if "PYTHONPATH" in given else _start(given, self.output)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(self._wait_seconds)

    def wait_for_text(self, file: str, text: str = "") -> str:
        """Wait until `file` of the run directory contains `text`; return its content."""
        deadline = time.monotonic() + self._wait_seconds
        while time.monotonic() < deadline:
            path = self.directory / file
            if path.exists() and text in (content := path.read_text()):
                return content
            time.sleep(0.05)
        raise TimeoutError(f"{text!r} did not appear in {file}; the runner said: {self.output.read_text()}")

    def wait_for_outcome(self) -> Outcome:
        """Wait for the outcome file; return its content."""
        return Outcome.model_validate_json(self.wait_for_text(OUTCOME_FILE))

    def publish(self) -> None:
        """Write the marker of the reporter, once the run has begun; an earlier one means that nothing is to run."""
        self.wait_for_text(RUN_FILE)
        (self.directory / PUBLISHED_FILE).touch()

    def send_sigterm(self) -> None:
        """Send SIGTERM, as the kubelet does."""
        self.process.send_signal(signal.SIGTERM)

    @property
    def log(self) -> str:
        """The content of `log.txt`."""
        return (self.directory / LOG_FILE).read_text()


def _fork(given: dict[str, str], output: Path) -> ForkedProcess:
    return ForkedProcess("lmms_eval_runner.__main__:start", os.environ | given, output)


def _start(given: dict[str, str], output: Path) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        command = [sys.executable, "-m", "lmms_eval_runner"]
        return subprocess.Popen(command, env=os.environ | given, stdout=file, stderr=subprocess.STDOUT)


def build_run_input(**fields: Any) -> dict[str, Any]:
    """Build a small `RunInput` as the operator writes it."""
    identity = {"namespace": "ns", "name": "e", "uid": "u", "attempt": 1, "publishTimeoutSeconds": WAIT_SECONDS}
    return {**identity, "harness": {"model": "dummy", "tasks": ["t"]}, **fields}


def write_stand_in(folder: Path) -> Path:
    """Write a package in place of lmms-eval, which runs the script in HARNESS_SCRIPT; return its PYTHONPATH entry."""
    package = folder / "lmms_eval"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    return folder
