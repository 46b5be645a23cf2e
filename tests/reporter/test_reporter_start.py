import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

from early_sigterm import probe_sigterm_before_imports

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"
START = "from lmms_eval_reporter.start import start; start()"


def test_a_request_to_end_is_heeded_from_the_first_moment() -> None:
    assert probe_sigterm_before_imports(START) == "True\n"


def entry_point() -> list[str]:
    """Of the reporter's image, but for the script that calls `start`."""
    (found,) = re.findall(r"^ENTRYPOINT (\[.*lmms-eval-reporter.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    command: list[str] = json.loads(found)
    *words, script = command
    assert script == "/opt/lmms-eval/lib/bin/lmms-eval-reporter"
    (installed,) = entry_points(group="console_scripts", name="lmms-eval-reporter")
    assert installed.value == "lmms_eval_reporter.start:start", "nobody would unblock the signal"
    return words


def child_of(pid: int) -> int:
    """The only child of a process, as soon as it has one."""
    deadline = time.monotonic() + 20
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline
    return int(found[0])


def test_a_request_to_end_before_python_runs_ends_process_1() -> None:
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    outer = subprocess.Popen(
        [*namespace, *entry_point(), sys.executable, "-c", START], env=os.environ | {"LMMS_EVAL_RUN": ""}
    )
    try:
        process_1 = child_of(outer.pid)
        while not Path(f"/proc/{process_1}/exe").resolve().name.startswith("python"):
            time.sleep(0.0005)
        os.kill(process_1, signal.SIGTERM)
        assert outer.wait(20) == 128 + signal.SIGTERM
    finally:
        outer.kill()
        outer.wait()
