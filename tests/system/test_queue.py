"""One at a time, whatever ends how; every failure names its culprit, and the queue goes on."""

import pytest
from release_fixtures import SMOKE, PodWatch, Release, build_smoke_evaluation

pytestmark = pytest.mark.system


def overlaps(runs: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Pairs of evaluator containers of which one started before the other had ended."""
    return [(one[2], other[2]) for one, other in zip(runs, runs[1:], strict=False) if other[0] < one[1]]


def test_evaluations_submitted_at_once_never_overlap_and_failures_name_their_culprit(
    release: Release, pod_watch: PodWatch
) -> None:
    wrong_task = release.apply(build_smoke_evaluation("wrong-task", tasks=["no_such_task"]))
    wrong_model = release.apply(
        build_smoke_evaluation("wrong-model", modelArgs={"pretrained": f"{SMOKE}/models/missing", "device_map": "cpu"})
    )
    crash = release.apply(build_smoke_evaluation("crash", env=[{"name": "SMOKE_RAISE_AT", "value": "2"}]))
    # One that goes on with its answers would be given another attempt.
    kill = [{"name": "SMOKE_KILL_AT", "value": "2"}]
    killed = release.apply(build_smoke_evaluation("killed", env=kill, retries=0, resume="never"))
    good = release.apply(build_smoke_evaluation("good", priority=-1))
    names = [wrong_task, wrong_model, crash, killed, good]
    ends = {name: release.finish(name, seconds=600) for name in names}

    outcomes = {name: (status["phase"], status["reason"]) for name, status in ends.items()}
    assert outcomes == {
        wrong_task: ("Failed", "TaskNotFound"),
        wrong_model: ("Failed", "ModelUnavailable"),
        crash: ("Failed", "EvaluationError"),
        killed: ("Failed", "Interrupted"),
        good: ("Completed", "Succeeded"),
    }, ends
    assert "no_such_task" in ends[wrong_task]["message"]
    assert f"{SMOKE}/models/missing" in ends[wrong_model]["message"]
    assert ends[crash]["error"]["logTail"] and "\x1b" not in ends[crash]["error"]["logTail"]
    for name in (wrong_task, wrong_model, crash, killed):
        release.deployment("wait", "--for=condition=Failed", f"lmmevaluation/{name}", "--timeout=30s")

    runs = pod_watch.list_runs(names)
    assert len(runs) == len(names), runs
    assert overlaps(runs) == []
    assert runs[-1][2] == good, "the lowest priority runs last"


def test_two_slots_run_two_at_once_and_never_three(release: Release, pod_watch: PodWatch) -> None:
    release.deployment.install(release.values | {"operator": {"concurrency": 2}})
    try:
        # Without GPUs, so that only the slots keep them apart.
        names = [release.apply(build_smoke_evaluation(f"of-three-{letter}", gpus=0)) for letter in "abc"]
        ends = [release.finish(name, seconds=600) for name in names]
        assert [status["phase"] for status in ends] == ["Completed"] * 3
    finally:
        release.deployment.install(release.values)
    runs = pod_watch.list_runs(names)
    assert max(most_at_once(runs)) == 2, runs


def most_at_once(runs: list[tuple[str, str, str]]) -> list[int]:
    """How many ran at the start of each."""
    return [sum(start <= began < end for start, end, _ in runs) for began, _, _ in runs]


def test_hold_keeps_it_queued_until_it_is_taken_back(release: Release) -> None:
    name = release.apply(build_smoke_evaluation("held", hold=True))
    held = release.wait(name, lambda status: status["reason"] == "OnHold", what="OnHold")
    assert held["phase"] == "Queued" and release.list_pods(name) == []
    release.deployment("patch", "lmmevaluation", name, "--type=merge", "-p", '{"spec":{"hold":false}}')
    assert release.finish(name)["phase"] == "Completed"


def test_exact_model_arguments_reach_the_adapter(release: Release) -> None:
    answer = "a,b='c' \"d\" = {x: [1, 2]}, ü €"
    status = release.finish(
        release.apply(build_smoke_evaluation("exact", model="dummy", modelArgs={"response": answer}, limit=2))
    )
    assert status["phase"] == "Completed", status
