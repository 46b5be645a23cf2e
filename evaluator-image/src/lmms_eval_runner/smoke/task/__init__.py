"""Writes the smoke task: the definition beside this file, and its documents as a parquet file."""

import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet

from lmms_eval_runner.smoke.images import draw
from lmms_eval_runner.smoke.questions import Question, questions

_DEFINITION = ("smoke_vqa.yaml", "smoke_vqa.py")
_DATA = "smoke_vqa.parquet"
# Read by the parquet builder of Hugging Face datasets: without it the picture would stay a struct of bytes.
_FEATURES = {
    "id": {"dtype": "int64", "_type": "Value"},
    "image": {"_type": "Image"},
    "question": {"dtype": "string", "_type": "Value"},
    "answer": {"dtype": "string", "_type": "Value"},
}


def write(folder: Path, seed: int) -> Path:
    """Write definition and documents to `folder`, to be named by `--include_path`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _DEFINITION:
        shutil.copyfile(Path(__file__).with_name(name), folder / name)
    rows = pyarrow.Table.from_pylist([_row(question) for question in questions(seed)])
    metadata = {"huggingface": json.dumps({"info": {"features": _FEATURES}})}
    pyarrow.parquet.write_table(rows.replace_schema_metadata(metadata), folder / _DATA)
    return folder


def _row(question: Question) -> dict[str, object]:
    picture = {"bytes": draw(question.scene), "path": f"{question.id}.png"}
    return {"id": question.id, "image": picture, "question": question.text, "answer": question.answer}
