"""What lmms-eval's own server starts or loads, and cannot without torch; the server itself is as released. See
upstream_fixtures.

Its evaluation process, `python -m lmms_eval`: one of RECORDED_TASK leaves the files of a run of lmms-eval 0.7.3 and
ends well. One that finds the file HOLD takes it away, and does nothing until it is killed. Its index of tasks: the
names in TASKS, where that is set.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

arguments = sys.orig_argv
if arguments[1:3] == ["-m", "lmms_eval"] and os.path.exists(os.environ["HOLD"]):
    os.remove(os.environ["HOLD"])
    signal.pause()
if arguments[1:3] == ["-m", "lmms_eval"] and os.environ["RECORDED_TASK"] in arguments:
    output = arguments[arguments.index("--output_path") + 1]
    shutil.copytree(Path(__file__).parent / "recorded_run", output, dirs_exist_ok=True)
    os._exit(0)
if arguments[1:3] == ["-m", "lmms_eval.launch_server"] and "TASKS" in os.environ:
    index = ModuleType("lmms_eval.tasks")
    index.TaskManager = lambda: SimpleNamespace(all_tasks=os.environ["TASKS"].split(","))  # type: ignore[attr-defined]
    sys.modules[index.__name__] = index
