"""From bars to progress: stages only go on, counts never exceed their total, files only every second."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.run import PROGRESS_FILE, ProgressReport, Stage
from lmms_eval_runner.meter import MARKS_FILE, Marks, Meter


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def bar(desc: str, n: float = 0, total: float | None = 10, *, disable: bool = False) -> SimpleNamespace:
    return SimpleNamespace(desc=desc, n=n, total=total, disable=disable)


def report(directory: Path) -> ProgressReport:
    return ProgressReport.model_validate_json((directory / PROGRESS_FILE).read_text())


def marks(directory: Path) -> Marks:
    return Marks.model_validate_json((directory / MARKS_FILE).read_text())


def test_the_way_of_a_run(tmp_path: Path) -> None:
    clock = Clock()
    meter = Meter(tmp_path, clock)
    meter.record_loading(exact_model_args=True)
    assert report(tmp_path).stage is Stage.LOADING_MODEL
    clock.now += 20
    meter.record_loaded()
    assert report(tmp_path).stage is Stage.EVALUATING
    clock.now += 5
    answering = bar("Model Responding: ", n=0, total=8)
    meter.read_bar(answering)
    assert (report(tmp_path).completed, report(tmp_path).total) == (0, 8)
    clock.now += 4
    answering.n = 2
    meter.read_bar(answering)
    assert (report(tmp_path).rate, report(tmp_path).eta_seconds) == (0.5, 12)
    answering.n = 8
    meter.read_closing_bar(answering)
    meter.read_bar(bar("Postprocessing", total=8))
    assert report(tmp_path).stage is Stage.SCORING
    assert (report(tmp_path).completed, report(tmp_path).total) == (8, 8)
    assert marks(tmp_path) == Marks(
        exact_model_args=True, loading_at=1000, loaded_at=1020, answering_at=1025, scoring_at=1029
    )


def test_what_a_bar_began_with_took_no_time(tmp_path: Path) -> None:
    clock = Clock()
    meter = Meter(tmp_path, clock)
    answering = SimpleNamespace(desc="Model Responding", n=90, initial=90, total=100, disable=False)
    meter.read_bar(answering)
    assert (meter.report.completed, meter.report.rate) == (90, None)
    clock.now += 4
    answering.n = 92
    meter.read_bar(answering)
    assert (meter.report.completed, meter.report.rate, meter.report.eta_seconds) == (92, 0.5, 16)
    meter.restart_answers()
    assert (meter.report.completed, meter.report.total) == (None, None)
    meter.read_bar(bar("Model Responding", n=1, total=100))
    assert (meter.report.completed, meter.report.total) == (1, 100)


def test_weights_tell_that_a_model_loads(tmp_path: Path) -> None:
    Meter(tmp_path, Clock()).read_bar(bar("Loading checkpoint shards"))
    assert report(tmp_path).stage is Stage.LOADING_MODEL


def test_a_second_kind_of_requests_goes_on_counting(tmp_path: Path) -> None:
    meter = Meter(tmp_path, Clock())
    first, second = bar("Model Responding", n=4, total=4), bar("Model Responding", n=0, total=6)
    meter.read_bar(first)
    meter.read_closing_bar(first)
    meter.read_closing_bar(first)
    meter.read_bar(second)
    assert (report(tmp_path).completed, report(tmp_path).total) == (4, 10)


def test_a_bar_inside_a_bar_does_not_count(tmp_path: Path) -> None:
    meter = Meter(tmp_path, Clock())
    outer = bar("Model Responding", n=1, total=4)
    meter.read_bar(outer)
    meter.read_bar(bar("Multi-round Responding", n=2, total=3))
    assert (meter.report.completed, meter.report.total) == (1, 4)
    outer.n = 4
    meter.read_bar(outer)
    meter.read_bar(bar("Model Responding", n=0, total=2))
    assert (meter.report.completed, meter.report.total) == (4, 6)


def test_the_first_rank_speaks_for_all(tmp_path: Path) -> None:
    Meter(tmp_path, Clock(), ranks=4).read_bar(bar("Model Responding", n=3, total=10))
    assert (report(tmp_path).completed, report(tmp_path).total) == (12, 40)


def test_files_are_written_at_most_every_second(tmp_path: Path) -> None:
    clock = Clock()
    meter, answering = Meter(tmp_path, clock), bar("Model Responding")
    meter.read_bar(answering)
    clock.now += 0.5
    answering.n = 3
    meter.read_bar(answering)
    assert report(tmp_path).completed == 0
    clock.now += 0.5
    meter.read_bar(answering)
    assert report(tmp_path).completed == 3


@pytest.mark.parametrize("description", ["", "Generating test split", "Map", "Loading dataset", "Batch Preparing"])
def test_other_bars_mean_nothing(tmp_path: Path, description: str) -> None:
    Meter(tmp_path, Clock()).read_bar(bar(description))
    assert not (tmp_path / PROGRESS_FILE).exists()


def test_disabled_and_half_made_bars_mean_nothing(tmp_path: Path) -> None:
    meter = Meter(tmp_path, Clock())
    meter.read_bar(bar("Model Responding", disable=True))
    meter.read_bar(SimpleNamespace())
    assert not (tmp_path / PROGRESS_FILE).exists()


def test_a_forked_worker_is_silent(tmp_path: Path) -> None:
    meter = Meter(tmp_path, Clock())
    if (child := os.fork()) == 0:
        meter.read_bar(bar("Model Responding"))
        os._exit(0)
    os.waitpid(child, 0)
    assert not (tmp_path / PROGRESS_FILE).exists()


def test_a_directory_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "gone", Clock())
    meter.read_bar(bar("Model Responding", n=5))
    assert meter.report.completed == 5


numbers = st.one_of(st.integers(-5, 50), st.floats(), st.none(), st.just("x"))


@given(
    st.lists(
        st.tuples(st.sampled_from(["Model Responding", "Postprocessing", "Loading weights", "x"]), numbers, numbers)
    )
)
def test_whatever_bars_say_the_report_makes_sense(moves: list[tuple[str, float, float | None]]) -> None:
    meter = Meter(Path("/nonexistent"), Clock())
    last = Stage.STARTING
    for desc, n, total in moves:
        meter.read_bar(bar(desc, n, total))
        shown = meter.report
        assert list(Stage).index(shown.stage) >= list(Stage).index(last)
        last = shown.stage
        if shown.completed is not None and shown.total is not None:
            assert 0 <= shown.completed <= shown.total
