"""Code that comes with a checkpoint does not run unless it is permitted, whoever asks for it: the effect, in the real
libraries.

The checkpoint's code leaves a mark when it is imported.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from custom_code_checkpoint import CLASSES, FILE, MARK, write_checkpoint
from runner_process import RunnerProcess

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import Outcome

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

SMOKE = Path("/opt/lmms-eval/smoke")
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
PERMIT = "spec.trustRemoteCode: true permits that, where the administrator has set policies.trustRemoteCode=true"

# As an adapter does, or a worker that an engine has spawned.
LOAD = """
import multiprocessing, sys

def load(names, folder):
    import transformers
    for name in names:
        try:
            getattr(transformers, name).from_pretrained(folder, trust_remote_code=True)
        except BaseException as error:
            print(name, type(error).__name__, error, flush=True)

if __name__ == "__main__":
    *names, folder = sys.argv[1:]
    load(names, folder)
    worker = multiprocessing.get_context("spawn").Process(target=load, args=(names[:1], folder))
    worker.start()
    worker.join()
"""
KERNEL = """
import sys
from transformers import AutoModel, LlamaConfig
config = LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8)
try:
    AutoModel.from_config(config, attn_implementation="somebody/kernel@main:attention")
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    caches = {"HF_HOME": str(tmp_path / "hf"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    return OFFLINE | caches | {"OWN_CODE_MARK": str(tmp_path / MARK)} | more


def python(tmp_path: Path, script: str, *arguments: str, **more: str) -> list[str]:
    """What a script says in a process of its own, which nobody but the image has prepared."""
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py"), *arguments]
    given = {**os.environ, **environment(tmp_path, **more)}
    return subprocess.run(command, env=given, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def test_no_auto_class_runs_it_in_any_process(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    said = python(tmp_path, LOAD, *CLASSES, str(folder))
    assert [line.split()[:2] for line in said] == [[name, "RemoteCodeRefused"] for name in (*CLASSES, CLASSES[0])]
    assert all(f"wanted to run {FILE} of {folder}" in line for line in said)
    assert not (tmp_path / MARK).exists()


def test_with_the_permission_it_runs(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    said = python(tmp_path, LOAD, "AutoConfig", str(folder), LMMS_EVAL_RUN_TRUST_REMOTE_CODE="1")
    assert said == [] and (tmp_path / MARK).exists()


def test_no_kernel_of_the_hub_is_loaded(tmp_path: Path) -> None:
    (said,) = python(tmp_path, KERNEL)
    assert said == "RemoteCodeRefused __main__ wanted to run the kernel somebody/kernel@main:attention"


def start(tmp_path: Path, model: str, pretrained: Path, **run: Any) -> Outcome:
    harness = {"model": model, "tasks": ["smoke_vqa"], "includePath": str(SMOKE / "tasks"), "limit": 2}
    harness["modelArgs"] = {"pretrained": str(pretrained), **run.pop("model_args", {})}
    runner = RunnerProcess(tmp_path, None, run={"harness": harness, **run}, env=environment(tmp_path), wait_seconds=800)
    runner.publish()
    outcome = runner.wait_for_outcome()
    assert runner.wait() == outcome.exit_code, runner.log
    return outcome


# They pass trust_remote_code=True by themselves, to AutoModel, AutoConfig and AutoProcessor.
@pytest.mark.parametrize("model", ["minicpm_v", "qwen3_vl", "lfm2_5_vl"])
def test_an_adapter_that_trusts_by_itself_is_refused_and_told_how_it_may(tmp_path: Path, model: str) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    outcome = start(tmp_path, model, folder)
    assert not (tmp_path / MARK).exists()
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert outcome.message.startswith("lmms_eval.models.") and PERMIT in outcome.message
    assert f".{model} wanted to run {FILE} of {folder}" in outcome.message


def test_the_smoke_model_has_a_class_of_its_own_that_minicpm_v_does_not_get(tmp_path: Path) -> None:
    outcome = start(tmp_path, "minicpm_v", SMOKE / "models" / "llava")
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert f"llava_code.py of {SMOKE}/models/llava" in outcome.message and PERMIT in outcome.message


def test_permitted_code_runs_also_for_an_adapter_that_knows_no_such_argument(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    permitted = {"model_args": {"trust_remote_code": True}, "trustRemoteCode": True}
    outcome = start(tmp_path, "lfm2_5_vl", folder, **permitted)
    # The class is no processor that could do anything, which is what the adapter gets to notice.
    assert (tmp_path / MARK).exists()
    assert outcome.reason is not Reason.SUCCEEDED and "trust_remote_code" not in outcome.message
