from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_core.run import ProgressReport, ResumedAnswers, Stage
from lmms_eval_reporter.status_progress import Pacer, StoredAnswers, build_progress

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def report(stage: Stage = Stage.EVALUATING, completed: int | None = None, total: int | None = None) -> ProgressReport:
    return ProgressReport(stage=stage, completed=completed, total=total, stage_started_at=0, updated_at=0)


@pytest.mark.parametrize(
    ("given_", "text", "percent"),
    [
        (report(Stage.LOADING_MODEL), "LoadingModel", None),
        (report(Stage.PUBLISHING), "", None),
        (report(completed=12, total=24), "12/24 50%", 50),
        (report(completed=0, total=3), "0/3 0%", 0),
        (report(completed=2, total=3), "2/3 66%", 66),
        (report(completed=8, total=3), "8/3 100%", 100),
        (report(completed=1, total=0), "Evaluating", None),
        (report(completed=1), "Evaluating", None),
        (report(completed=-1, total=3), "Evaluating", None),
        (report(completed=10**30, total=10**30), "Evaluating", None),
        (report(Stage.SCORING, completed=24, total=24), "24/24 100%", 100),
    ],
)
def test_text_and_percent(given_: ProgressReport, text: str, percent: int | None) -> None:
    shown = build_progress(given_, now=NOW)
    assert (shown.text, shown.percent) == (text, percent)


def test_the_wire_form() -> None:
    full = ProgressReport(
        completed=1, total=4, rate=0.5, eta_seconds=6, stage=Stage.EVALUATING, stage_started_at=0, updated_at=0
    )
    assert build_progress(full, now=NOW).to_wire() == {
        "stage": "Evaluating",
        "completed": 1,
        "total": 4,
        "percent": 25,
        "rate": 0.5,
        "etaSeconds": 6,
        "text": "1/4 25%",
        "updatedAt": "2026-01-02T03:04:05Z",
    }


@settings(deadline=None)
@given(st.integers(), st.integers(), st.floats(), st.integers())
def test_numbers_are_ones_that_the_api_server_takes(completed: int, total: int, rate: float, eta: int) -> None:
    odd = ProgressReport(completed=completed, total=total, rate=rate, eta_seconds=eta, stage_started_at=0, updated_at=0)
    shown = build_progress(odd, now=NOW).to_wire()
    assert all(0 <= shown.get(name, 0) <= 2**53 for name in ("completed", "total", "etaSeconds"))
    assert 0 <= shown.get("percent", 0) <= 100 and shown.get("rate", 0.0) >= 0 and len(shown["text"]) < 60


@pytest.mark.parametrize(
    ("answers", "attempt", "said"),
    [(7, 1, True), (0, 1, True), (-1, 1, False), (2**60, 1, False), (7, 0, False), (7, -3, False), (7, 10**7, False)],
)
def test_what_was_resumed_is_said_where_it_can_be(answers: int, attempt: int, said: bool) -> None:
    resumed = ResumedAnswers(answers=answers, from_attempt=attempt, exactness="equivalent")
    shown = build_progress(report().model_copy(update={"resumed": resumed}), stored=StoredAnswers(3), now=NOW).to_wire()
    expected = {"answers": answers, "fromAttempt": attempt, "exactness": "equivalent"}
    assert shown["kept"] == 3 and shown.get("resumed") == (expected if said else None)


def test_what_is_kept_and_resumed_is_written_when_it_changes() -> None:
    pacer, still = Pacer(5), report(Stage.EVALUATING, 5, 9)
    three, four = StoredAnswers(3), StoredAnswers(4)
    pacer.record_write(still, three, at=0.0)
    assert not pacer.is_due(still, three, at=6.0)
    assert pacer.is_due(still, four, at=6.0) and not pacer.is_due(still, four, at=1.0)
    assert pacer.is_due(still, StoredAnswers(3, "a line is not the runner's"), at=6.0)
    for reason in ("started_anew", "journal_off"):
        assert pacer.is_due(still.model_copy(update={reason: "weights differ"}), three, at=6.0)


def test_why_answers_are_not_kept_is_said_whoever_knows_it() -> None:
    off = report().model_copy(update={"journal_off": "an unknown adapter", "started_anew": "weights differ"})
    stored = StoredAnswers(3, "a line is not the runner's", "answers of attempt 1 cannot be listed")
    shown = build_progress(off, stored=stored, now=NOW).to_wire()
    assert (shown["notKept"], shown["startedAnew"], shown["kept"]) == ("an unknown adapter", "weights differ", 3)
    shown = build_progress(report(), stored=stored, now=NOW).to_wire()
    assert (shown["notKept"], shown["startedAnew"]) == stored[1:]
    shown = build_progress(report(), now=NOW).to_wire()
    assert not {"notKept", "startedAnew", "kept"} & shown.keys()


def test_counts_are_paced_and_stages_are_not() -> None:
    pacer = Pacer(5)
    steps = [
        (0.0, report(Stage.STARTING), True),
        (0.1, report(Stage.STARTING), False),
        (0.2, report(Stage.LOADING_MODEL), True),
        (0.3, report(Stage.EVALUATING, 0, 9), True),
        (1.0, report(Stage.EVALUATING, 1, 9), False),
        (5.2, report(Stage.EVALUATING, 4, 9), False),
        (5.3, report(Stage.EVALUATING, 5, 9), True),
        (60.0, report(Stage.EVALUATING, 5, 9), False),
        (60.1, report(Stage.EVALUATING, 6, 9), True),
    ]
    for at, shown, expected in steps:
        assert pacer.is_due(shown, at=at) is expected, at
        if expected:
            pacer.record_write(shown, at=at)
