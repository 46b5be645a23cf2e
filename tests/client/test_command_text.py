from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_client import JobInfo, Progress
from lmms_eval_client.cli.jobs import COLUMNS
from lmms_eval_client.cli.screen import build_table
from lmms_eval_client.cli.text import (
    clean,
    describe_attempt,
    describe_state,
    format_age,
    format_duration,
    format_progress,
    to_csv_cell,
)
from lmms_eval_core.wire import Attempt

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (42.9, "42s"),
        (60, "1m"),
        (310, "5m10s"),
        (600, "10m"),
        (3600, "1h"),
        (9000, "2h30m"),
        (90000, "1d1h"),
        (1e6, "11d"),
    ],
)
def test_durations_are_written_as_kubectl_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_ages() -> None:
    assert (format_age("2026-01-01T00:00:00Z", NOW), format_age("2026-01-01T23:59:00", NOW), format_age(None, NOW)) == (
        "1d",
        "1m",
        "-",
    )


def test_progress() -> None:
    assert [format_progress(progress) for progress in (None, Progress(), Progress(completed=3))] == ["-", "-", "3"]
    assert format_progress(Progress(completed=3, total=12, percent=25)) == "3/12 25%"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"status": "queued", "reason": "WaitingForTurn", "position_in_queue": 3},
            "queued (WaitingForTurn), 3 before it",
        ),
        ({"status": "queued", "reason": "OnHold", "position_in_queue": 3, "hold": True}, "queued (OnHold)"),
        (
            {"status": "running", "reason": "Unschedulable", "message": "0/1 nodes\nare available"},
            "running (Unschedulable), 0/1 nodes are available",
        ),
        (
            {"status": "running", "reason": "Evaluating", "progress": {"completed": 1, "total": 2}},
            "running (Evaluating), 1/2",
        ),
        ({"status": "completed", "reason": "Succeeded", "message": "Well."}, "completed (Succeeded)"),
    ],
)
def test_states(fields: dict[str, object], text: str) -> None:
    job = JobInfo.model_validate({"job_id": "a", "created_at": "2026-01-01T00:00:00Z", "request": {}, **fields})
    assert describe_state(job) == text


RESUMED = {"answers": 120, "from_attempt": 1, "exactness": "exact"}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "runs"),
        (
            {"reason": "GPUError", "node": "n1", "message": "a CUDA or NCCL fault"},
            "GPUError on n1: a CUDA or NCCL fault",
        ),
        (
            {
                "reason": "NodeLost",
                "resumed": RESUMED,
                "started_anew": "packages differ",
                "free": True,
                "message": "gone",
            },
            "NodeLost, goes on after 120 answers of attempt 1 (exact), spent no retry: gone",
        ),
        (
            {"node": "n1", "started_anew": "packages differ from attempt 1"},
            "runs on n1, answers of earlier attempts do not count: packages differ from attempt 1",
        ),
        (
            {"resumed": RESUMED, "not_kept": "No space left on device"},
            "runs, goes on after 120 answers of attempt 1 (exact), "
            "no more answers are kept for another attempt: No space left on device",
        ),
    ],
)
def test_attempts(fields: dict[str, object], text: str) -> None:
    assert describe_attempt(Attempt.model_validate({"number": 2, **fields})) == text


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, ["JOB", "STATUS", "PROGRESS", "AGE"]),
        (90, ["JOB", "STATUS", "REASON", "PROGRESS", "SCORE", "AGE"]),
        (200, list(COLUMNS)),
    ],
)
def test_a_narrow_terminal_gets_the_columns_that_matter(width: int, columns: list[str]) -> None:
    row = [
        "6b1f2a3c-aaaa",
        "completed",
        "Succeeded",
        "qwen2_5_vl",
        "mme,mmmu_val",
        "2374/2374 100%",
        "mme 1523.4, mmmu_val 0.51",
        "3h",
    ]
    assert [column.header for column in build_table(COLUMNS, [row], width=width).columns] == columns


def test_what_would_steer_a_terminal_is_taken_out() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07\r\nnext\x9b2J") == "red  next2J"
    assert clean("a\nb\tc\x08", lines=True) == "a\nb\tc"


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    assert not {
        character for character in clean(text, lines=True) if character < " " and character not in "\t\n"
    } & set(text)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1", "'+1"),
        ("-cmd|'/c calc'", "'-cmd|'/c calc'"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\x1b[31m=1", "'=1"),
        ("a\x1b]0;title\x07b\u202ec", "abc"),
        ("accuracy", "accuracy"),
        (-0.5, -0.5),
        (None, None),
        (["=1", "\x1b"], '["=1", "\\u001b"]'),
    ],
)
def test_a_cell_is_no_formula_and_steers_no_terminal(value: object, cell: object) -> None:
    assert to_csv_cell(value) == cell
