"""A harness that has said its last word and hangs is ended; one that is still at work is left alone."""

import subprocess
import sys

import pytest

from lmms_eval_runner.supervise import End

# In a process of its own: looking after a child means to reap, and in the end to kill, all children there are.
SCRIPT = """\
import sys, tempfile
from pathlib import Path
from lmms_eval_core.redact import Redactor
from lmms_eval_runner.child import Child
from lmms_eval_runner.log import LogCopy
from lmms_eval_runner.stop import StopRequest
from lmms_eval_runner.supervise import supervise
from lmms_eval_runner.watch import LogWatch

watch, stop = LogWatch(), StopRequest()
stop.made = sys.argv[1] == "stop"
with tempfile.TemporaryFile(buffering=0) as raw:
    log = LogCopy(raw.fileno(), [], redact=Redactor(), clock=lambda: 0.0, see=watch.see)
    child = Child(["sh", "-c", sys.argv[2]], environment={}, directory=Path("/"), output=raw.fileno())
    end = supervise(child, log, watch=watch, stop=stop, linger=0.3)
print(end)
"""
LAST_WORD = "echo '| ERROR    | lmms_eval.__main__:cli_evaluate:614 - Error during evaluation: x'"


def supervised(stop: str, command: str) -> str:
    done = subprocess.run([sys.executable, "-c", SCRIPT, stop, command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("stop", "command", "end"),
    [
        ("go on", f"{LAST_WORD}; exec sleep 600", End(-15)),
        ("go on", "echo 'still at work'; sleep 1; exit 3", End(3)),
        ("stop", "exec sleep 600", End(-15, stopped=True)),
        ("stop", "trap '' TERM; while true; do sleep 0.1; done", End(-9, stopped=True)),
    ],
)
def test_how_it_ends(stop: str, command: str, end: End) -> None:
    assert supervised(stop, command) == str(end)
