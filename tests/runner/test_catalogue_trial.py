"""Functions that misbehave, each tried in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lmms_eval_runner.catalogue.models import explain_unavailable
from lmms_eval_runner.catalogue.trial import TrialDeath, TrialError, run_trial


def returns() -> list[str]:
    return ["a", "b"]


def returns_nothing() -> list[str]:
    return []


def chatters() -> list[str]:
    print("x" * 1_000_000)
    os.write(2, b"y" * 1_000_000)
    return []


def lacks_a_package() -> list[str]:
    import surely_nobody_has.this  # type: ignore[import-not-found]  # the point of it

    return [str(surely_nobody_has)]


def raises_a_book() -> list[str]:
    raise ValueError("x" * 1_000_000)


def exits() -> list[str]:
    sys.exit(3)


def exits_at_once() -> list[str]:
    os._exit(3)


def is_killed() -> list[str]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def hangs() -> list[str]:
    time.sleep(60)
    return []


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (returns, ["a", "b"]),
        (returns_nothing, []),
        (chatters, []),
        (
            lacks_a_package,
            TrialError("ModuleNotFoundError", "No module named 'surely_nobody_has'", "surely_nobody_has"),
        ),
        (raises_a_book, TrialError("ValueError", "x" * 2000)),
        (exits, TrialError("SystemExit", "3")),
        (exits_at_once, TrialDeath("ended the process with exit code 3")),
        (is_killed, TrialDeath("ended the process with signal 9")),
    ],
)
def test_whatever_a_function_does_something_is_known_of_it(
    function: Callable[[], list[str]], result: list[str] | TrialError | TrialDeath, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_trial(function, seconds=20) == result
    assert capfd.readouterr() == ("", "")


def test_one_that_hangs_is_ended_in_time() -> None:
    started = time.monotonic()
    assert run_trial(hangs, seconds=0.2) == TrialDeath("did not end within 0.2 seconds")
    assert time.monotonic() - started < 30


def test_what_a_function_leaves_behind_goes_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def leaves_a_process() -> list[str]:
        mark.write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        return []

    assert run_trial(leaves_a_process, seconds=20) == []
    process = Path("/proc") / mark.read_text() / "stat"
    deadline = time.monotonic() + 30
    while process.exists() and process.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_function_imports_is_gone_with_it() -> None:
    def imports() -> list[str]:
        import this

        return [this.__name__]

    assert run_trial(imports, seconds=20) == ["this"]
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        ([], None),
        (["vllm", "reka", "vllm"], "It asks for packages that this image lacks: reka, vllm."),
        (TrialError("ModuleNotFoundError", "No module named 'ujson'", "ujson"), "This image lacks the package ujson."),
        (
            TrialError("ModuleNotFoundError", "", "lmms_eval.models.simple.bagel_umm"),
            "lmms-eval lists it, but has no module lmms_eval.models.simple.bagel_umm.",
        ),
        (
            TrialError("ModuleNotFoundError", "no module\n  at all"),
            "Its import fails: ModuleNotFoundError: no module at all",
        ),
        (TrialError("AttributeError", "x" * 2000), "Its import fails: AttributeError: " + "x" * 266),
        (TrialDeath("ended the process with signal 11"), "Its import ended the process with signal 11."),
        (TrialDeath("did not end within 60 seconds"), "Its import did not end within 60 seconds."),
    ],
)
def test_a_trial_becomes_one_sentence(tried: list[str] | TrialError | TrialDeath, said: str | None) -> None:
    assert explain_unavailable(tried) == said
