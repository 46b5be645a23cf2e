"""Exceptions in real logs: types, messages, frames, chains."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_runner.tracebacks import parse_exception_chains

LOGS = Path(__file__).parent / "logs"


def lines_of(name: str) -> list[str]:
    return (LOGS / f"{name}.txt").read_text().splitlines()


def test_finds_the_one_exception_of_a_log() -> None:
    ((raised,),) = parse_exception_chains(lines_of("unknown-task"))
    assert raised.type == "ValueError"
    assert raised.message.startswith("Tasks not found: no_such_task. Try")
    assert raised.has_frame("cli_evaluate_single", "lmms_eval/__main__.py")


def test_keeps_the_cause_before_its_consequence() -> None:
    ((cause, consequence),) = parse_exception_chains(lines_of("dataset-offline"))
    assert cause.text == "ConnectionError: Couldn't reach 'lmms-lab-encoder/MME' on the Hub (OfflineModeIsEnabled)"
    assert consequence.type == "tenacity.RetryError"
    assert cause.has_frame("load_dataset", "datasets/load.py")


def test_sees_a_traceback_behind_an_unfinished_bar() -> None:
    ((raised,),) = parse_exception_chains(lines_of("exception-in-task"))
    assert raised.text == "RuntimeError: smoke_vqa was told by SMOKE_RAISE_AT to fail at document 5"


def test_the_message_ends_where_the_log_goes_on() -> None:
    ((*_, last),) = parse_exception_chains(lines_of("missing-model-directory"))
    assert last.type == "OSError"
    assert "Error during evaluation" not in last.message


def test_unrelated_exceptions_are_chains_of_their_own() -> None:
    log = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "/a/b.py", line 3, in run
[rank1]:     go()
[rank1]: ValueError: first
[rank1]: second line
2026-11-23 07:00:00 | INFO     | x - y
(EngineCore_0 pid=77) ERROR 11-23 07:00:01 [core.py:7] Traceback (most recent call last):
(EngineCore_0 pid=77) ERROR 11-23 07:00:01 [core.py:7]   File "/c.py", line 1, in load
(EngineCore_0 pid=77) ERROR 11-23 07:00:01 [core.py:7] torch.OutOfMemoryError: CUDA out of memory. Tried 20 GiB.
""".splitlines()
    (first,), (second,) = parse_exception_chains(log)
    assert first.text == "ValueError: first\nsecond line"
    assert first.frames == (("/a/b.py", "run"),)
    assert second.type == "torch.OutOfMemoryError"


@given(st.lists(st.text(max_size=60), max_size=40))
def test_any_text_can_be_read(lines: list[str]) -> None:
    assert parse_exception_chains(lines) == []


@given(st.lists(st.sampled_from(lines_of("missing-model-directory") + ["", "KeyError", "x: y", "  y"]), max_size=60))
def test_a_torn_log_can_be_read(lines: list[str]) -> None:
    for chain in parse_exception_chains(lines):
        assert all(raised.type for raised in chain)
