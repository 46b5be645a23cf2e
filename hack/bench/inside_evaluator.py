"""Runs inside the evaluator image, given to its Python as text: starts the runner as the container does, and prints
seconds.

Nothing but the image is needed. What `start_up` makes rows of is one line of JSON, the last one.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
SMOKE = Path("/opt/lmms-eval/smoke")
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
LLAVA: dict[str, Any] = {"pretrained": str(SMOKE / "models" / "llava"), "device": "cpu", "device_map": "cpu"}
ADAPTERS: dict[str, dict[str, Any]] = {"dummy": {"response": "A", "model_name": "dummy"}, "llava_hf": LLAVA}
WAIT_SECONDS = 300

# The smoke model with embeddings of 5 GB: much to read, little to compute.
MAKE_WEIGHTS = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from transformers import LlavaConfig, LlavaForConditionalGeneration
folder, size = Path(sys.argv[1]), int(sys.argv[2])
config = json.loads((folder / "config.json").read_text())
config["text_config"] |= {"hidden_size": 1024, "vocab_size": size // (2 * 2 * 1024)}
(folder / "config.json").write_text(json.dumps(config))
with torch.device("meta"):
    shapes = LlavaForConditionalGeneration(LlavaConfig(**config)).state_dict()
weights = {name: torch.zeros(tensor.shape, dtype=torch.bfloat16) for name, tensor in shapes.items()}
save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
"""
WEIGHTS_BYTES = 5_000_000_000


def marks(adapter: str, model_args: dict[str, Any], *, until: str, **environment: str) -> dict[str, float]:
    """Starts a run, and ends it once the runner has noted the moment `until`; all moments so far, from the start."""
    with tempfile.TemporaryDirectory() as folder:
        harness = {
            "model": adapter,
            "modelArgs": model_args,
            "tasks": ["smoke_vqa"],
            "includePath": str(SMOKE / "tasks"),
            "limit": 1,
        }
        run = {
            "namespace": "bench",
            "name": "start-up",
            "uid": "1",
            "attempt": 1,
            "publishTimeoutSeconds": 1,
            "harness": harness,
        }
        given = {"LMMS_EVAL_RUN": json.dumps(run), "LMMS_EVAL_RUN_DIRECTORY": folder, "HF_HOME": f"{folder}/hf"}
        began = time.time()
        runner = subprocess.Popen(
            [sys.executable, "-m", "lmms_eval_runner"],
            env=os.environ | OFFLINE | given | environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            noted = _wait(runner, Path(folder) / "marks.json", until)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {(Path(folder) / 'log.txt').read_text()[-3000:]}") from None
        finally:
            runner.terminate()
            runner.wait()
    return {name: at - began for name, at in noted.items() if isinstance(at, float)}


def _wait(runner: subprocess.Popen[bytes], path: Path, moment: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and runner.poll() is None:
        noted: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if noted.get(moment):
            return noted
        time.sleep(0.02)
    raise TimeoutError(f"no {moment}")


def start_up() -> dict[str, dict[str, float]]:
    """By adapter: from the start of the runner to the first answer (one document: the scoring begins), as it is and
    plain.
    """
    found = {}
    for adapter, model_args in ADAPTERS.items():
        seconds: dict[str, list[float]] = {"0": [], "1": []}
        for _ in range(ROUNDS):
            for switch, measured in seconds.items():
                measured.append(marks(adapter, model_args, until="scoringAt", LMMS_EVAL_WARM_START=switch)["scoringAt"])
        found[adapter] = {"plain": statistics.median(seconds["0"]), "warm": statistics.median(seconds["1"])}
    return found


def weights() -> dict[str, float]:
    """Seconds to load 5 GB that no memory holds, with and without reading ahead."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(SMOKE / "models" / "llava", model, copy_function=shutil.copyfile)
        subprocess.run([sys.executable, "-c", MAKE_WEIGHTS, str(model), str(WEIGHTS_BYTES)], check=True)
        seconds: dict[str, list[float]] = {"0": [], "1": []}
        for _ in range(ROUNDS):
            for switch, measured in seconds.items():
                _drop(model / "model.safetensors")
                # Of another type than on the disk: on a CPU it would only be mapped into memory otherwise, and not
                # read.
                given = LLAVA | {"pretrained": str(model), "dtype": "float16"}
                noted = marks("llava_hf", given, until="loadedAt", LMMS_EVAL_READ_AHEAD=switch)
                measured.append(noted["loadedAt"] - noted["loadingAt"])
    return {"plain": statistics.median(seconds["0"]), "ahead": statistics.median(seconds["1"])}


def _drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    print(json.dumps({"startUp": start_up(), "weights": weights()}))
