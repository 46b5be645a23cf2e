import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import AnswerCounts, HarnessArguments, Outcome, ProgressReport, RunInput, Stage, Timings
from lmms_eval_core.status import MAX_STATUS_BYTES, ArtifactFile, EvaluationStatus
from lmms_eval_reporter import status_fields, texts
from lmms_eval_reporter.run_files import FinishedRun

NOW = datetime(2026, 1, 2, tzinfo=UTC)
URI = "s3://artifacts/ns/nightly-0f4c6a1e/a1/"
# What is left for the operator: its own fields with long messages, five attempts and three conditions.
REPORTERS_SHARE = MAX_STATUS_BYTES - 10 * 1024


def attempt(**changes: Any) -> RunInput:
    harness = HarnessArguments(model="llava_hf", tasks=["tiny"])
    return RunInput(
        namespace="ns", name="nightly", uid="0f4c6a1e", attempt=1, harness=harness, gpus=2, image="img:1", **changes
    )


def succeeded(**changes: Any) -> Outcome:
    return Outcome(reason=Reason.SUCCEEDED, exit_code=0, **changes)


def everything(finished: FinishedRun, files: list[ArtifactFile] | None = None, log: str = "") -> dict[str, Any]:
    """All fields of a final write, as they are sent."""
    stored = status_fields.build_artifacts(URI, files or [], truncated=False)
    fields = status_fields.to_wire_fields(
        status_fields.build_results_fields(attempt(), finished, stored, timings=finished.outcome.timings)
    )
    error = status_fields.build_run_error(finished.outcome, log)
    progress = status_fields.build_final_progress(None, succeeded=error is None, now=NOW)
    return (
        fields | {"reportedAttempt": 1, "progress": progress.to_wire()} | ({"error": error.to_wire()} if error else {})
    )


def test_a_success_is_reported_whole() -> None:
    results = {
        "results": {"tiny": {"alias": "tiny", "acc,none": 0.25, "acc_stderr,none": "N/A", "odd,none": float("nan")}},
        "usage": {"total": {"input_tokens": 40, "output_tokens": 16}},
    }
    outcome = succeeded(
        timings=Timings(load_seconds=1.5, generation_seconds=2.0, total_seconds=10.0),
        answers=AnswerCounts(samples=24, empty=1),
        versions={"lmms_eval": "0.7.3", "torch": "2.13.0"},
    )
    assert everything(FinishedRun(outcome, results), [ArtifactFile(name="results.json", bytes=5400)]) == {
        "reportedAttempt": 1,
        "scores": {"tiny": {"acc,none": {"value": 0.25, "stderr": None}, "odd,none": {"value": None, "stderr": None}}},
        "summary": "tiny 0.25",
        "artifacts": {"uri": URI, "files": [{"name": "results.json", "bytes": 5400}]},
        "usage": {
            "loadSeconds": 1.5,
            "generationSeconds": 2.0,
            "totalSeconds": 10.0,
            "gpuSeconds": 20.0,
            "samples": 24,
            "inputTokens": 40,
            "outputTokens": 16,
            "versions": {"lmms_eval": "0.7.3", "torch": "2.13.0"},
            "image": "img:1",
        },
        "suspect": {"samples": 24, "empty": 1, "failed": 0, "swallowedErrors": 0},
        "progress": {"stage": "Publishing", "percent": 100, "text": "100%", "updatedAt": "2026-01-02T00:00:00Z"},
    }


def test_a_failure_says_what_and_shows_the_end_of_the_log() -> None:
    outcome = Outcome(reason=Reason.TASK_NOT_FOUND, exit_code=65, message="there is no task 'tinny' (token=abcdefgh)")
    fields = everything(
        FinishedRun(outcome), log="a\n\x1b[31mValueError: Tasks not found\x1b[0m\nwith hf_abcdefghijklmnopqrst\n"
    )
    assert fields["error"] == {
        "class": "TaskNotFound",
        "message": "there is no task 'tinny' (token=[REDACTED])",
        "logTail": "a\nValueError: Tasks not found\nwith [REDACTED]",
    }
    assert "scores" not in fields and "summary" not in fields and "suspect" not in fields


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({}, (None, None)),
        ({"usage": {}, "throughput": {"total_gen_tokens": 16}}, (None, 16)),
        ({"efficiency": {"overall": {"total_output_tokens": 16.0}}, "throughput": {"total_gen_tokens": 3}}, (None, 16)),
        ({"usage": {"total": {"input_tokens": "7", "output_tokens": -1}}}, (None, None)),
        ({"usage": [1], "efficiency": "x", "throughput": None}, (None, None)),
        ({"usage": {"total": {"input_tokens": 10**30, "output_tokens": float("nan")}}}, (None, None)),
    ],
)
def test_tokens_come_from_the_first_count_that_lmms_eval_has(
    results: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    usage = status_fields.build_usage(attempt(), succeeded(), Timings(), results)
    assert (usage.input_tokens, usage.output_tokens) == expected


@pytest.mark.parametrize(
    ("last", "success", "text", "percent"),
    [
        (None, True, "100%", 100),
        (None, False, "Starting", None),
        (ProgressReport(stage=Stage.LOADING_MODEL, stage_started_at=0, updated_at=0), False, "LoadingModel", None),
        (
            ProgressReport(stage=Stage.EVALUATING, completed=7, total=24, stage_started_at=0, updated_at=0),
            False,
            "7/24 29%",
            29,
        ),
        (
            ProgressReport(stage=Stage.SCORING, completed=24, total=24, stage_started_at=0, updated_at=0),
            True,
            "24/24 100%",
            100,
        ),
    ],
)
def test_the_progress_that_stays(last: ProgressReport | None, success: bool, text: str, percent: int | None) -> None:
    progress = status_fields.build_final_progress(last, succeeded=success, now=NOW)
    assert (progress.stage, progress.text, progress.percent) == ("Publishing", text, percent)


def test_seconds_that_overflow_are_left_out() -> None:
    usage = status_fields.build_usage(
        attempt(), succeeded(), Timings(total_seconds=1.7e308, load_seconds=float("inf")), {}
    )
    assert (usage.total_seconds, usage.gpu_seconds, usage.load_seconds) == (1.7e308, None, None)


def test_many_tasks_and_files_are_cut_and_said() -> None:
    results = {
        "results": {
            f"a_task_with_a_rather_long_name_{n}": {"acc,none": n / 7, "acc_stderr,none": 0.1} for n in range(2000)
        }
    }
    files = [ArtifactFile(name=f"samples/task_{n}.jsonl.zst", bytes=10**9, lines=10**6) for n in range(2000)]
    fields = everything(FinishedRun(succeeded(), results), files)
    assert fields["truncated"] and fields["artifacts"]["truncated"] and len(fields["scores"]) > 200
    omitted = fields["omittedScores"]
    assert omitted["count"] == 2000 - len(fields["scores"])
    assert omitted["names"] and not set(omitted["names"]) & set(fields["scores"])
    assert texts.measure_wire_size(fields) < REPORTERS_SHARE


def test_what_was_asked_for_is_in_the_scores_whatever_is_cut() -> None:
    rows = {f"a_task_with_a_rather_long_name_{n}": {"acc,none": 0.5} for n in range(2000)} | {
        "tiny": {"acc,none": 0.25}
    }
    fields = everything(FinishedRun(succeeded(), {"results": rows}))
    assert fields["scores"]["tiny"]["acc,none"]["value"] == 0.25
    assert fields["summary"].startswith("tiny 0.25")


@pytest.mark.parametrize("fill", ["x", "<", "é", "\ud800", "\x01", "\\", "\u2028", "😀"])
def test_the_worst_texts_leave_the_operator_its_share(fill: str) -> None:
    long = fill * 20_000
    results = {
        "results": {f"{n}{long}": {f"{long},none": 0.5} for n in range(50)}
        | {fill * 9 + str(n): {"m,f": 1} for n in range(2000)}
    }
    outcome = Outcome(
        reason=Reason.ALL_ANSWERS_FAILED,
        exit_code=72,
        message=long,
        versions={f"{n}{long}": long for n in range(50)},
        answers=AnswerCounts(samples=10**18, empty=-4),
    )
    files = [ArtifactFile(name=f"samples/{'x' * 200}.jsonl.zst", bytes=2**53, lines=2**53) for _ in range(900)]
    fields = everything(FinishedRun(outcome, results), files, log=long + "\n" + long)
    assert texts.measure_wire_size(fields) < REPORTERS_SHARE
    EvaluationStatus.model_validate(json.loads(json.dumps(fields)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("acc,none"), inner, max_size=4)
    ),
    max_leaves=12,
)
RESULTS = st.dictionaries(st.sampled_from(["usage", "efficiency", "throughput", "groups", "n-samples"]), JSON).flatmap(
    lambda rest: st.builds(
        lambda rows: {**rest, "results": rows}, st.dictionaries(st.text(max_size=8), JSON, max_size=5)
    )
)
OUTCOMES = st.builds(
    Outcome,
    reason=st.sampled_from(Reason),
    exit_code=st.integers(),
    message=st.text(),
    answers=st.builds(
        AnswerCounts, samples=st.integers(), empty=st.integers(), failed=st.integers(), swallowed_errors=st.integers()
    ),
    timings=st.builds(Timings, load_seconds=st.floats(), generation_seconds=st.floats(), total_seconds=st.floats()),
    versions=st.dictionaries(st.text(), st.text()),
)


@settings(max_examples=150, deadline=None)
@given(OUTCOMES, RESULTS | st.none())
def test_whatever_a_run_says_becomes_a_status_that_the_schema_takes(
    outcome: Outcome, results: dict[str, Any] | None
) -> None:
    fields = everything(FinishedRun(outcome, results), log=outcome.message)
    encoded = json.dumps(fields, allow_nan=False)
    EvaluationStatus.model_validate(json.loads(encoded))
    assert texts.measure_wire_size(fields) < REPORTERS_SHARE
