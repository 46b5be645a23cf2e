"""The smoke task: its questions, its scoring, and the knobs that break a run on purpose. No torch needed."""

import importlib.util
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lmms_eval_runner.smoke
from lmms_eval_runner.smoke.questions import COLOURS, DOCUMENTS, NUMBERS, SHAPES, questions

FUNCTIONS = Path(lmms_eval_runner.smoke.__file__).parent / "task" / "smoke_vqa.py"


def load() -> Any:
    """The functions as lmms-eval loads them: from a file, by its path."""
    spec = importlib.util.spec_from_file_location("smoke_vqa", FUNCTIONS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Picture:
    """What the functions ask of an image."""

    def convert(self, mode: str) -> str:
        return mode


def document(number: int) -> dict[str, Any]:
    return {"id": number, "image": Picture(), "question": "What?\nA. this", "answer": "A"}


def test_there_are_enough_documents_with_ids_that_count_up() -> None:
    assert [question.id for question in questions(0)] == list(range(DOCUMENTS))
    assert DOCUMENTS >= 24


def test_the_same_seed_asks_the_same() -> None:
    assert questions(7) == questions(7)
    assert questions(7) != questions(8)


@pytest.mark.parametrize("seed", range(20))
def test_the_answer_names_what_the_picture_shows(seed: int) -> None:
    for question in questions(seed):
        options = dict(line.split(". ", 1) for line in question.text.splitlines()[1:])
        assert list(options) == ["A", "B", "C", "D"]
        assert set(options.values()) in ({*COLOURS}, {*SHAPES}, {str(number) for number in NUMBERS})
        assert options[question.answer] in {str(part) for part in question.scene}


@pytest.mark.parametrize(
    ("answer", "score"), [("A", 1.0), (" a.", 1.0), ("AB", 1.0), ("B", 0.0), ("", 0.0), ("BA", 0.0)]
)
def test_an_answer_counts_by_its_first_letter(answer: str, score: float) -> None:
    assert load().process_results(document(0), [answer]) == {"smoke_accuracy": score}


def test_a_document_is_read_without_more_ado(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch.delenv)
    assert load().doc_to_visual(document(3)) == ["RGB"]
    assert load().doc_to_text(document(3)).endswith("Answer with the letter.")


def test_raise_at_fails_at_that_document_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch.delenv)
    monkeypatch.setenv("SMOKE_RAISE_AT", "3")
    assert load().doc_to_visual(document(13)) == ["RGB"]
    with pytest.raises(RuntimeError, match="SMOKE_RAISE_AT to fail at document 3"):
        load().doc_to_visual(document(3))


def test_sleep_comes_before_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch.delenv)
    monkeypatch.setenv("SMOKE_SLEEP_SECONDS", "0.25")
    module, slept = load(), list[float]()
    monkeypatch.setattr(module.time, "sleep", slept.append)
    module.doc_to_visual(document(0))
    module.doc_to_visual(document(1))
    assert slept == [0.25, 0.25]


def test_kill_at_ends_the_process_by_sigkill() -> None:
    code = f"import runpy; runpy.run_path({str(FUNCTIONS)!r})['doc_to_visual']({{'id': 2}})"
    done = subprocess.run([sys.executable, "-c", code], env={"SMOKE_KILL_AT": "2"}, check=False)
    assert done.returncode == -signal.SIGKILL


def clear(delete: Callable[..., None]) -> None:
    for name in ("SMOKE_SLEEP_SECONDS", "SMOKE_RAISE_AT", "SMOKE_KILL_AT"):
        delete(name, raising=False)
