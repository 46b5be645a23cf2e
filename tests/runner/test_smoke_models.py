"""The smoke models and data as they are made, and through the adapters that the image's versions were chosen for."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.harness

ADAPTERS = [
    ("llava_hf", "llava", ""),
    ("qwen2_5_vl", "qwen2_5_vl", ",min_pixels=784,max_pixels=12544"),
    ("huggingface", "llava", ",trust_remote_code=True"),
]
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
# As the runner does with spec.trustRemoteCode: the smoke LLaVA brings the class that `huggingface` takes.
TRUSTED = {"LMMS_EVAL_RUN_TRUST_REMOTE_CODE": "1"}


def make(destination: Path, *arguments: str) -> Path:
    command = [sys.executable, "-m", "lmms_eval_runner.smoke", str(destination), *arguments]
    subprocess.run(command, check=True, env=os.environ | OFFLINE)
    return destination


@pytest.fixture
def smoke() -> Path:
    """What was made when the image was built."""
    return Path("/opt/lmms-eval/smoke")


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_same_seed_makes_the_same_bytes(smoke: Path, tmp_path: Path) -> None:
    assert content(make(tmp_path / "again")) == content(smoke)


def test_another_seed_makes_other_weights_and_questions(smoke: Path, tmp_path: Path) -> None:
    ours, others = content(smoke), content(make(tmp_path / "other", "--seed", "1"))
    changed = {name for name in ours if ours[name] != others[name]}
    assert changed == {
        "models/llava/model.safetensors",
        "models/qwen2_5_vl/model.safetensors",
        "tasks/smoke_vqa.parquet",
    }


def test_everything_is_small_and_readable_by_any_user(smoke: Path) -> None:
    files = [file for file in smoke.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 1024 * 1024
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)


def test_the_pictures_show_what_they_are_said_to_show() -> None:
    from PIL import Image

    from lmms_eval_runner.smoke.images import COLOURS, draw
    from lmms_eval_runner.smoke.questions import questions

    for question in questions(0):
        picture = Image.open(io.BytesIO(draw(question.scene)))
        colours = {colour for _, colour in picture.getcolors() or []}
        assert COLOURS[question.scene.colour] in colours
        assert len(colours) == 2


@pytest.mark.parametrize(("adapter", "model", "more"), ADAPTERS)
def test_an_adapter_scores_the_smoke_model(smoke: Path, tmp_path: Path, adapter: str, model: str, more: str) -> None:
    arguments = f"pretrained={smoke}/models/{model},device=cpu,device_map=cpu{more}"
    command = [sys.executable, "-m", "lmms_eval", "--model", adapter, "--model_args", arguments, "--tasks", "smoke_vqa"]
    command += ["--include_path", f"{smoke}/tasks", "--batch_size", "1", "--output_path", str(tmp_path / "out")]
    # Threads that wait for each other hold processors that other tests could use.
    environment = os.environ | OFFLINE | TRUSTED | {"HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    results = list((tmp_path / "out").rglob("*_results.json"))
    assert results, done.stdout[-2000:] + done.stderr[-2000:]
    accuracy = json.loads(results[0].read_text())["results"]["smoke_vqa"]["smoke_accuracy,none"]
    assert 0 < accuracy < 1, "untrained weights neither always nor never hit one letter of four"
    assert "in generating" not in done.stdout, "the adapter swallowed an error"
