"""`make test` itself: which tier runs when, what its processes leave, what it tells of them."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from lmms_eval_test import cli, leftovers, preparation, processes
from lmms_eval_test.paths import ROOT
from lmms_eval_test.preparation import Failed, PytestRun, Stages, Tier, TierPreparation
from lmms_eval_test.processes import MARK, Processes, kill_marked
from lmms_eval_test.report import (
    PytestRunOutcome,
    ReportedTest,
    TierOutcome,
    print_failures,
    print_summary,
    read_cases,
    write_summary,
)
from lmms_eval_test.schedule import Schedule, ended_tests, startable

PASSES = "def test_a():\n    pass\n\n\ndef test_b(record_property):\n    record_property('namespace', 'test-1')\n"
FAILS = PASSES + "    print('what it printed')\n    raise AssertionError('seen whole')\n"


def nothing(preparation: TierPreparation) -> Stages:
    return []


def tier(name: str, cores: float) -> Tier:
    return Tier(name, "for this test", cores, nothing)


@pytest.fixture(autouse=True)
def own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Logs and reports of these tests are not among those of the run that they are part of."""
    monkeypatch.setattr(preparation, "BUILD", tmp_path / "build")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    (tmp_path / "build").mkdir()
    return tmp_path / "build"


@pytest.mark.parametrize(
    ("prepared", "running", "cores", "started"),
    [
        ([2, 2], [], 2, [0]),
        ([1, 1, 1], [], 2, [0, 1]),
        ([1, 1], [1], 2, [0]),
        ([2, 0.5], [1.5], 2, [1]),
        ([2, 0], [2], 2, [1]),
        ([2, 2], [0], 2, [0]),
        ([8], [], 2, [0]),
        ([8], [1], 2, []),
        ([2, 2, 2, 2], [], 8, [0, 1, 2, 3]),
        ([], [1], 2, []),
    ],
)
def test_tiers_run_beside_each_other_as_far_as_the_processors_go(
    prepared: list[float], running: list[float], cores: float, started: list[int]
) -> None:
    waiting = [tier(f"p{number}", needed) for number, needed in enumerate(prepared)]
    busy = [tier(f"r{number}", needed) for number, needed in enumerate(running)]
    assert startable(waiting, busy, cores) == [waiting[number] for number in started]


def pytest_of(source: str, folder: Path) -> "list[str]":
    """A test file's path, for a pytest of its own."""
    folder.mkdir()
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return [str(folder / "test_it.py"), "-c", str(folder / "pytest.ini")]


def run(*tiers: Tier, arguments: "list[str] | None" = None) -> tuple[list[TierOutcome], list[str]]:
    told: list[str] = []
    schedule = Schedule(tiers, processes=Processes(), arguments=arguments or [], cores=2)
    return schedule.run(told.append, lambda outcome: told.append(f"ended {outcome.name}")), told


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", "0"),
        ("bringing up nodes...\n...", "3"),
        ("." * 72 + " [ 10%]\n..F.E", "77 (2 failed)"),
        ("uuu.s", "2"),
        ("Traceback (most recent call last)\n", "0"),
    ],
)
def test_progress_is_counted_by_pytests_letters(log: str, said: str) -> None:
    assert ended_tests(log) == said


def test_parts_of_a_stage_run_at_once_and_stages_one_after_the_other(tmp_path: Path) -> None:
    meet = "import pathlib, sys, time\nmine, other = map(pathlib.Path, sys.argv[1:])\nmine.touch()\n"
    meet += "while not other.exists():\n    time.sleep(0.01)\n"
    after = "import pathlib, sys\nsys.exit(not all(pathlib.Path(path).exists() for path in sys.argv[1:]))"
    a, b = str(tmp_path / "a"), str(tmp_path / "b")

    def stages(preparation: TierPreparation) -> Stages:
        together = [
            PytestRun(name, [sys.executable, "-c", meet, *paths], {}) for name, paths in (("a", [a, b]), ("b", [b, a]))
        ]
        return [together, [PytestRun("after", [sys.executable, "-c", after, a, b], {})]]

    (outcome,), _ = run(Tier("meeting", "", 1, stages))
    assert [part.exit_code for part in outcome.parts] == [0, 0, 0]


def test_a_failure_names_its_test_its_log_and_its_namespace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = pytest_of(PASSES, tmp_path / "good"), pytest_of(FAILS, tmp_path / "bad")
    stages = [[("good", good), ("bad", bad)]]

    def prepare(preparation: TierPreparation) -> Stages:
        return [[preparation.pytest(name, *arguments) for name, arguments in stage] for stage in stages]

    (outcome,), told = run(Tier("two", "", 1, prepare))
    assert [outcome.count(result) for result in ("passed", "failed", "skipped")] == [3, 1, 0]
    assert not outcome.is_good(allow_missing=False, selected=False)
    assert told[-1] == "ended two"
    print_failures(outcome)
    said = capsys.readouterr().out
    assert "FAILED test_it::test_b in namespace test-1\n" in said
    assert str(tmp_path / "build" / "bad.log") in said and "good.log" not in said
    assert "AssertionError: seen whole" in said and "what it printed" in said


def fails_at_first(folder: Path, *, always: int = 0, first: int = 0) -> "list[str]":
    """Tests of which some always fail and some at their first try, and one that passes and must not run twice."""
    source = (
        "import pathlib\n\n\ndef test_passes():\n    pathlib.Path(__file__).with_name('passed').touch(exist_ok=False)\n"
    )
    source += "".join(
        f"\n\ndef test_always_{number}():\n    raise AssertionError('always')\n" for number in range(always)
    )
    for number in range(first):
        tried = f"pathlib.Path(__file__).with_name('tried-{number}')"
        source += (
            f"\n\ndef test_first_{number}():\n    tried = {tried}\n    known = tried.exists()\n    tried.touch()\n"
        )
        source += "    assert known, 'at first'\n"
    return pytest_of(source, folder)


def list_one_part(arguments: list[str], preparation: TierPreparation) -> Stages:
    return [[preparation.pytest("part", *arguments)]]


@pytest.mark.parametrize(
    ("always", "first", "allowed", "counts"),
    [
        (0, 2, 2, (3, 0, 2)),
        (1, 1, 2, (2, 1, 1)),
        (1, 2, 2, (1, 3, 0)),
        (0, 1, 0, (1, 1, 0)),
    ],
)
def test_a_few_failures_on_a_cluster_are_tried_once_more_and_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    always: int,
    first: int,
    allowed: int,
    counts: tuple[int, int, int],
) -> None:
    arguments = fails_at_first(tmp_path / "tests", always=always, first=first)
    parts = partial(list_one_part, arguments)
    (outcome,), _ = run(Tier("flaky", "", 1, parts, second_tries=allowed))
    passed, failed, flaky = counts
    assert (outcome.count("passed"), outcome.count("failed")) == (passed, failed)
    assert sum(case.flaky for case in outcome.cases()) == flaky
    assert outcome.is_good(allow_missing=False, selected=False) == (not failed)
    print_failures(outcome)
    print_summary([outcome], 1)
    said = capsys.readouterr().out
    assert said.count("FLAKY, passed at its second try: test_it::test_first_") == flaky
    assert ("at first" in said, f"{flaky} passed at the second try alone" in said) == (first > 0, flaky > 0)


def test_a_part_without_a_report_has_one_try(own_build: Path) -> None:
    program = [sys.executable, "-c", "raise SystemExit(1)"]
    (outcome,), _ = run(Tier("dying", "", 1, lambda preparation: [[PytestRun("part", program, {})]], second_tries=2))
    assert outcome.count("failed") == 1 and not outcome.is_good(allow_missing=False, selected=False)
    assert [path.name for path in own_build.glob("part*.log")] == ["part.log"]


def test_selected_tests_have_one_try(tmp_path: Path) -> None:
    tests = Tier("flaky", "", 1, lambda preparation: [[preparation.pytest("part")]], second_tries=2)
    (outcome,), _ = run(tests, arguments=fails_at_first(tmp_path / "tests", first=1))
    assert outcome.count("failed") == 1


def test_a_part_that_dies_is_a_failure_with_the_end_of_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    die = "import os, signal; print('last words', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    (outcome,), _ = run(
        Tier("dying", "", 1, lambda preparation: [[PytestRun("dying", [sys.executable, "-c", die], {})]])
    )
    assert outcome.count("failed") == 1
    print_failures(outcome)
    assert "last words" in capsys.readouterr().out


def test_a_preparation_that_fails_makes_a_tier_missing_and_no_other() -> None:
    def fails(preparation: TierPreparation) -> Stages:
        preparation.run(sys.executable, "-c", "print('why'); raise SystemExit(3)")
        return []

    passes = [sys.executable, "-c", ""]
    outcomes, _ = run(
        Tier("bad", "", 2, fails), Tier("good", "", 2, lambda preparation: [[PytestRun("good", passes, {})]])
    )
    assert "failed" in outcomes[0].missing and not outcomes[1].missing
    assert outcomes[1].parts[0].exit_code == 0
    assert outcomes[0].is_good(allow_missing=True, selected=False) and not outcomes[0].is_good(
        allow_missing=False, selected=False
    )


def test_what_is_verified_after_the_tests_can_fail_a_tier() -> None:
    def verify(preparation: TierPreparation) -> None:
        raise Failed("a branch without a test")

    (outcome,), _ = run(Tier("covered", "", 1, nothing, verify))
    assert outcome.wrong == "a branch without a test" and not outcome.is_good(allow_missing=True, selected=True)


def test_of_selected_tests_a_tier_may_have_none(tmp_path: Path) -> None:
    arguments = pytest_of(PASSES, tmp_path / "tests")
    tests = Tier("tests", "", 1, lambda preparation: [[preparation.pytest("tests")]])
    (outcome,), _ = run(tests, arguments=[*arguments, "-k", "no_such_test"])
    assert outcome.is_good(allow_missing=False, selected=True) and not outcome.is_good(
        allow_missing=False, selected=False
    )


def sleeper(root: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(["sleep", "60"], env={"PATH": "/usr/bin:/bin", MARK: str(root)})
    deadline = time.monotonic() + 60
    # Until it is a program of its own it has our environment.
    while b"sleep" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_what_a_killed_run_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    with sleeper(tmp_path / "ours") as ours, sleeper(tmp_path / "ours-2") as other:
        try:
            assert kill_marked(tmp_path / "ours") == [ours.pid]
            assert ours.wait(timeout=60) == -9
            assert other.poll() is None
        finally:
            ours.kill()
            other.kill()


def test_what_runs_is_interrupted_at_the_end_and_nothing_starts_afterwards(tmp_path: Path) -> None:
    program = (
        "import time\nprint('up', flush=True)\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    "
        "print('tidied up')\n"
    )
    running, log, codes = Processes(tmp_path), tmp_path / "log", []
    thread = threading.Thread(target=lambda: codes.append(running.run([sys.executable, "-c", program], log=log)))
    thread.start()
    deadline = time.monotonic() + 60
    while not (log.exists() and "up" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.end()
    thread.join(timeout=60)
    assert codes == [0] and "tidied up" in log.read_text()
    assert running.run([sys.executable, "-c", ""], log=log) == -1


def test_the_slowest_tests_of_all_tiers_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = PytestRun("part", [], {})
    quick = [ReportedTest(f"quick{number}", number / 100, "passed") for number in range(20)]
    slow = TierOutcome("slow", seconds=9, parts=[PytestRunOutcome(part, 0, [ReportedTest("sleeps", 8.0, "passed")])])
    outcomes = [
        TierOutcome("fast", parts=[PytestRunOutcome(part, 0, quick)]),
        slow,
        TierOutcome("none", missing="it needs a cluster"),
    ]
    print_summary(outcomes, 10)
    lines = capsys.readouterr().out.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line == "slowest tests"]
    assert lines[first + 1].split() == ["8.0", "s", "slow", "sleeps"]
    assert sum("quick" in line for line in lines) == 9
    assert "none         did not run: it needs a cluster" in lines
    assert lines[-1] == "21 passed, 0 failed, 0 skipped in 10 s"
    write_summary(outcomes, tmp_path / "summary.json")
    assert [entry["seconds"] for entry in json.loads((tmp_path / "summary.json").read_text())] == [0.0, 9, 0.0]


def test_a_report_that_is_not_there_has_no_cases(tmp_path: Path) -> None:
    assert read_cases(tmp_path / "none.xml") == []


def test_arguments_name_tiers_and_after_two_dashes_pytests_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.parse(["unit", "system", "--", "-k", "position"]) == (["unit", "system"], ["-k", "position"])
    assert cli.parse(["--"]) == (["unit", "web", "integration", "harness", "system"], [])
    with pytest.raises(SystemExit):
        cli.parse(["units"])
    assert "no such tier: units; there are unit, web, integration" in capsys.readouterr().err


def test_namespaces_of_tests_go_when_no_run_can_be_using_them_and_what_serves_them_goes_too() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    ages = {"test-old": 61, "test-new": 59}
    stamps = {name: (now - timedelta(minutes=age)).strftime("%Y-%m-%dT%H:%M:%SZ") for name, age in ages.items()}
    items = [{"metadata": {"name": name, "creationTimestamp": stamp}} for name, stamp in stamps.items()]
    assert leftovers.old(items, now) == ["test-old"]
    policies = [
        {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": f"{name}.lmms-eval.status"}} for name in ages
    ]
    assert leftovers.serving(policies, ["test-old"]) == ["validatingadmissionpolicy/test-old.lmms-eval.status"]


@pytest.mark.timeout(120)
def test_bare_pytest_starts_no_cluster_and_says_how_to_get_one(tmp_path: Path) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("LMMS_EVAL_")}
    state = {"LMMS_EVAL_CLUSTER_STATE": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    files = [
        "tests/core/test_kube.py",
        "tests/core/test_store.py",
        "tests/system/test_scores.py",
        "tests/cluster/test_cluster_life.py",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *files]
    done = subprocess.run(command, cwd=ROOT, env=ours | state, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and " passed" not in done.stdout, done.stdout
    assert "needs the API server of a cluster" in done.stdout and "`make test TIER=integration`" in done.stdout
    assert "needs a cluster with a node and our images" in done.stdout and "`make test TIER=system`" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "build"], "a cluster was begun, or a program"
