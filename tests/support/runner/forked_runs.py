"""Runs of the real lmms-eval without its start: one process imports everything, and forks for each run.

`ForkedRuns` is for the tests. The file itself is that process: commands come as lines of JSON, and so do the answers.
"""

import gc
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


class ForkedRun(NamedTuple):
    """A run in `directory`, by these arguments of lmms-eval; `setup` is code that comes first, in the run's process.

    Without `plugin` the runner's plug-in stays away, as if it were not installed.
    """

    directory: Path
    arguments: Sequence[str]
    environment: dict[str, str]
    setup: str = ""
    plugin: bool = True


class ForkedRuns:
    """The process that forks, as long as this is entered."""

    def __enter__(self) -> "ForkedRuns":
        command = [sys.executable, __file__]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process: subprocess.Popen[str] = subprocess.Popen(command, env=os.environ | OFFLINE, **pipes)  # type: ignore[call-overload]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, *runs: ForkedRun) -> list[int]:
        """Run all of them at once, each as a rank; return how they ended: the exit code, or minus the signal."""
        assert self._process.stdin and self._process.stdout
        jobs = [run._asdict() | {"directory": str(run.directory)} for run in runs]
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        ends: list[int] = json.loads(self._process.stdout.readline())
        return ends


def main() -> None:
    """Fork for each line of the input."""
    _import_everything()
    for line in sys.stdin:
        pids = [os.fork() or _run(job) for job in json.loads(line)]
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


def _import_everything() -> None:
    from lmms_eval_runner import warm_start

    warm_start.parse_yaml_in_c()
    import lmms_eval.__main__
    import qwen_vl_utils  # noqa: F401
    from lmms_eval.tasks import TaskManager
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration  # noqa: F401

    # The index of lmms-eval's own tasks is the same in every run.
    original, known = TaskManager._get_task_and_group, {}
    own = str(Path(lmms_eval.__file__).parent / "tasks")

    def get(self: Any, folder: str) -> Any:
        if os.path.abspath(folder).rstrip("/") != own:
            return original(self, folder)
        if own not in known:
            known[own] = original(self, folder)
        return {name: dict(entry) for name, entry in known[own].items()}

    TaskManager._get_task_and_group = get
    TaskManager()
    gc.collect()
    gc.freeze()


def _run(job: dict[str, Any]) -> int:
    """Be that run; never returns."""
    code = 1
    try:
        os.setsid()
        os.environ |= job["environment"]
        os.chdir(job["directory"])
        log = os.open(f"log-{os.environ.get('RANK', '0')}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if job["plugin"]:
            from lmms_eval_runner import progress

            progress.install()
        exec(job["setup"], {})
        sys.argv = ["lmms_eval", *job["arguments"]]
        from lmms_eval.__main__ import cli_evaluate

        cli_evaluate()
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
