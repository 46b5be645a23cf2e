"""Functions of the smoke task, named by smoke_vqa.yaml and imported by lmms-eval from the folder of that file.

Environment variables, which an evaluation sets by `spec.env`, make a run slow or break it on purpose:
SMOKE_SLEEP_SECONDS before each document, SMOKE_RAISE_AT and SMOKE_KILL_AT at the document of that id,
SMOKE_RAISE_MESSAGE in place of the exception's own words.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any


def doc_to_visual(doc: Mapping[str, Any]) -> list[Any]:
    """The picture of a document, after what the environment asks for has happened."""
    _misbehave(str(doc["id"]))
    return [doc["image"].convert("RGB")]


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """The prompt of a document."""
    return f"{doc['question']}\nAnswer with the letter."


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1.0 where the answer begins with the right letter, else 0.0."""
    return {"smoke_accuracy": float(results[0].strip()[:1].upper() == doc["answer"])}


def _misbehave(document: str) -> None:
    time.sleep(float(os.environ.get("SMOKE_SLEEP_SECONDS", "0")))
    if os.environ.get("SMOKE_RAISE_AT") == document:
        words = f"smoke_vqa was told by SMOKE_RAISE_AT to fail at document {document}"
        raise RuntimeError(os.environ.get("SMOKE_RAISE_MESSAGE", words))
    if os.environ.get("SMOKE_KILL_AT") == document:
        os.kill(os.getpid(), signal.SIGKILL)
