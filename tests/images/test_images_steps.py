"""What a person sees of a build: its slow steps, and why it failed."""

import sys
from pathlib import Path

import pytest
from lmms_eval_images import steps
from lmms_eval_images.console import ImageError


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[3/6] STEP 2/3: COPY core /src/core", "3/6 2/3: COPY core /src/core"),
        ("STEP 1/4: FROM scratch", "1/4: FROM scratch"),
        ("#12 [harness 3/3] RUN pip install x", "harness 3/3: RUN pip install x"),
        ("#3 [internal] load build context", "internal: load build context"),
        ("--> 209e6701943", ""),
        ("#12 DONE 3.1s", ""),
    ],
)
def test_steps_of_both_builders_are_recognised(line: str, said: str) -> None:
    assert steps.parse_step(line) == said


def test_everything_is_in_the_log_and_slow_steps_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "_SLOW", -1.0)
    steps.run_build(
        [sys.executable, "-c", "print('STEP 1/2: FROM scratch'); print('STEP 2/2: COPY a b')"],
        tmp_path / "log" / "x.log",
    )
    assert "0 s for 1/2: FROM scratch" in capsys.readouterr().err
    assert (tmp_path / "log" / "x.log").read_text().splitlines() == ["STEP 1/2: FROM scratch", "STEP 2/2: COPY a b"]


def test_a_failure_shows_the_last_words_and_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with pytest.raises(ImageError, match=r"(?s)x\.log.*no space left"):
        steps.run_build([sys.executable, "-c", "import sys; sys.exit('no space left')"], log)
