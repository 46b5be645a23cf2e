"""Failures in disguise, counted in samples and in the log."""

import json
from pathlib import Path

import pytest

from lmms_eval_core.run import AnswerCounts
from lmms_eval_core.sample_scoring import FAILED_MARK
from lmms_eval_runner import answer_counts
from lmms_eval_runner.answer_counts import count_answers, count_without_samples
from lmms_eval_runner.harness_log_watch import HarnessLogWatch

LOGS = Path(__file__).parent / "logs"
FAILED = f"{FAILED_MARK} after 5 retries] Connection error."


def samples(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def watched(name: str) -> HarnessLogWatch:
    watch = HarnessLogWatch()
    for line in (LOGS / f"{name}.txt").read_text().splitlines():
        watch.read_line(line)
    return watch


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ({"filtered_resps": "B"}, ""),
        ({"filtered_resps": ""}, "empty"),
        ({"filtered_resps": " \n"}, "empty"),
        ({"filtered_resps": "", "resps": "The answer is B"}, ""),
        ({"filtered_resps": FAILED}, "failed"),
        ({"resps": [FAILED, FAILED], "filtered_resps": "x"}, "failed"),
        ({"resps": [FAILED, "B"], "filtered_resps": "B"}, ""),
        ({"resps": [["", ""]], "filtered_resps": [""]}, "empty"),
        ({"filtered_resps": [["-1.5", "True"], ["-2.5", "False"]]}, ""),
        ({"filtered_resps": []}, ""),
        ({}, ""),
        ([1, 2], ""),
    ],
)
def test_kinds_of_answers(tmp_path: Path, sample: object, kind: str) -> None:
    counts = count_answers([samples(tmp_path / "s.jsonl", sample)], swallowed=0).counts
    assert counts == AnswerCounts(samples=1, empty=int(kind == "empty"), failed=int(kind == "failed"))


def test_counts_go_over_all_files(tmp_path: Path) -> None:
    first = samples(tmp_path / "a.jsonl", {"filtered_resps": FAILED}, {"filtered_resps": "A"})
    second = samples(tmp_path / "b.jsonl", {"filtered_resps": ""})
    found = count_answers([first, second], swallowed=2)
    assert found.counts == AnswerCounts(samples=3, empty=1, failed=1, swallowed_errors=2)
    assert found.example == "Connection error."


def test_a_torn_or_endless_line_is_a_sample_of_unknown_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_counts, "MAX_LINE_BYTES", 64)
    file = samples(tmp_path / "s.jsonl", {"filtered_resps": "x" * 500}, {"filtered_resps": ""})
    with file.open("a") as stream:
        stream.write('{"filtered_resps": ')
    assert count_answers([file], swallowed=0).counts == AnswerCounts(samples=3, empty=1)


@pytest.mark.parametrize(
    "nested", ["[" * 100_000, "[" * 900 + "]" * 900, '{"filtered_resps": ' + "[" * 150 + '"A"' + "]" * 150 + "}"]
)
def test_a_line_of_brackets_is_a_sample_of_unknown_content(tmp_path: Path, nested: str) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(f'{nested}\n{{"filtered_resps": "", "n": {"9" * 5000}}}\n')
    assert count_answers([file], swallowed=0).counts == AnswerCounts(samples=2, empty=1)


def test_without_samples_the_log_must_do() -> None:
    counts = count_without_samples(total=4, swallowed=1, gave_up=3).counts
    assert counts == AnswerCounts(samples=4, failed=4, swallowed_errors=1)
    assert counts.has_only_failures
    assert not count_without_samples(total=4, swallowed=0, gave_up=3).counts.has_only_failures


def test_swallowed_errors_of_a_real_log() -> None:
    watch = watched("swallowed-errors")
    assert (watch.swallowed, watch.gave_up, watch.example) == (3, 0, "integer division or modulo by zero")
    assert watch.finished
    assert not watch.raised


def test_requests_that_were_given_up_in_a_real_log() -> None:
    watch = watched("unreachable-endpoint")
    assert (watch.swallowed, watch.gave_up, watch.example) == (0, 3, "Connection error.")


def test_the_end_by_an_exception_of_a_real_log() -> None:
    watch = watched("exception-in-task")
    assert watch.raised
    assert watch.has_ended
    assert not watch.finished
