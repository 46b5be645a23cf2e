"""A harness that has said its last word and hangs is ended; one that is still at work is left alone."""

import subprocess
import sys

import pytest

from lmms_eval_runner.supervise import HarnessExit

# In a process of its own: looking after a child means to reap, and in the end to kill, all children there are.
SCRIPT = """\
import sys, tempfile
from pathlib import Path
from lmms_eval_core.redact import Redactor
from lmms_eval_runner.harness_process import HarnessProcess
from lmms_eval_runner.harness_log import LogCopy
from lmms_eval_runner.supervise import StopRequest, supervise
from lmms_eval_runner.harness_log_watch import HarnessLogWatch

watch, stop = HarnessLogWatch(), StopRequest()
def read_line(line):
    watch.read_line(line)
    stop.made |= "stop me" in line
with tempfile.TemporaryFile(buffering=0) as raw:
    log = LogCopy(raw.fileno(), [], redact=Redactor(), clock=lambda: 0.0, on_line=read_line)
    process = HarnessProcess(["sh", "-c", sys.argv[1]], environment={}, directory=Path("/"), output=raw.fileno())
    end = supervise(process, log, watch=watch, stop=stop, linger=0.3)
print(end)
"""
LAST_WORD = "echo '| ERROR    | lmms_eval.__main__:cli_evaluate:614 - Error during evaluation: x'"


def supervised(command: str) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT, command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("command", "end"),
    [
        (f"{LAST_WORD}; exec sleep 600", HarnessExit(-15)),
        ("echo 'still at work'; sleep 1; exit 3", HarnessExit(3)),
        ("echo stop me; exec sleep 600", HarnessExit(-15, stopped=True)),
        ("trap '' TERM; echo stop me; while true; do sleep 0.1; done", HarnessExit(-9, stopped=True)),
    ],
)
def test_how_it_ends(command: str, end: HarnessExit) -> None:
    assert supervised(command) == str(end)
