"""What the runner itself does not expect: an outcome with a sentence, and no interruption, which would be repeated."""

import io
import tempfile
from pathlib import Path

import pytest

from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import Reason
from lmms_eval_core.redact import HIDDEN
from lmms_eval_core.run import RUN_DIRECTORY, HarnessArguments, RunInput
from lmms_eval_runner import attempt as module
from lmms_eval_runner.supervise import StopRequest

TASKS_OF_ANOTHER = "/tmp/tasks-of-another"
SECRET = "zq81-hidden-value"


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (
            RecursionError(f"in a line with {SECRET}"),
            Reason.EVALUATION_ERROR,
            f"RecursionError: in a line with {HIDDEN}",
        ),
        (
            OSError(28, "No space left on device", f"{RUN_DIRECTORY}/output"),
            Reason.DISK_FULL,
            "No space left on device",
        ),
        (OSError(122, "Disk quota exceeded"), Reason.DISK_FULL, "Disk quota exceeded"),
        (OSError(5, "Input/output error", "/tmp/\udcff"), Reason.EVALUATION_ERROR, "Input/output error"),
    ],
)
def test_an_error_of_the_runner_is_an_outcome(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    reason: Reason,
    words: str,
) -> None:
    def fail(run: RunInput, directory: Path) -> None:
        raise error

    monkeypatch.setattr(module, "_prepare", fail)
    harness = HarnessArguments(model="dummy", tasks=["t"])
    run = RunInput(namespace="ns", name="e", uid="u", attempt=1, harness=harness, secret_env=["JUDGE"])
    outcome = module.run_attempt(
        run, directory=tmp_path, environ={"JUDGE": SECRET}, mirror=io.BytesIO(), stop=StopRequest()
    )
    assert outcome.reason is reason and not BY_REASON[outcome.reason].retry
    assert words in outcome.message and outcome.to_json()
    said = capsys.readouterr().err
    assert "Traceback" in said and SECRET not in said + outcome.message


def test_a_link_does_not_lead_to_tasks_that_another_evaluation_has_written(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as volume:
        link = Path(volume) / "tasks"
        link.symlink_to(TASKS_OF_ANOTHER)
        harness = HarnessArguments(model="dummy", tasks=["t"], include_path=str(link))
        run = RunInput(namespace="ns", name="e", uid="u", attempt=1, harness=harness)
        outcome = module.run_attempt(run, directory=tmp_path, environ={}, mirror=io.BytesIO(), stop=StopRequest())
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert f"spec.includePath {link} leads to {TASKS_OF_ANOTHER}, which is inside a directory that" in outcome.message
