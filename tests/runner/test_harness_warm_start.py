"""The shortcuts over the real lmms-eval: the same tasks, and what was put off is there when it is used.

In one process of its own, as importing lmms-eval takes seconds. That the scores are the same is in test_harness_runs.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

SCRIPT = """
import gc, importlib, json, sys, sysconfig
from pathlib import Path
from lmms_eval_runner import warm_start

import yaml
plain = yaml.full_load
shortcuts = (warm_start.parse_yaml_in_c, warm_start.import_late, warm_start.import_without_collecting_garbage)
warm_start.apply_shortcuts(*shortcuts)
said = {}

import lmms_eval, lmms_eval.utils, lmms_eval.api.registry as registry
from lmms_eval.tasks import TaskManager

def index(load):
    yaml.full_load = load
    return [[name, dict(entry)] for name, entry in TaskManager()._task_index.items()]

# Every file of a task, whatever it includes: `!function` gives its node, of which the text counts.
def parsed(load, path):
    with path.open("rb") as file:
        return repr(load(file)).replace("object at", "")

fast = yaml.full_load
said["index"] = len(index(fast))
said["same index"] = index(fast) == index(plain)
yaml.full_load = fast
yaml.add_constructor("!function", lambda loader, node: (loader.name, node.value))
files = sorted((Path(lmms_eval.__file__).parent / "tasks").rglob("*.yaml"))
said["files"] = len(files)
said["other files"] = [str(path) for path in files if parsed(fast, path) != parsed(plain, path)]

# What nobody has used is not there.
late = sorted({entry.module for entry in warm_start.LATE.values()})
said["loaded"] = [name for name in late if name in sys.modules]
said["collects"] = [gc.isenabled()]
import lmms_eval.models
lmms_eval.models.get_model("llava_hf", force_simple=True)
said["collects"].append(gc.isenabled())
said["loaded with transformers"] = [name for name in late if name in sys.modules]
said["deferred"] = sorted(name for name in warm_start.LATE if name in sys.modules)

stdlib = Path(sysconfig.get_path("stdlib"))
said["without bytecode"] = [
    name
    for name, module in sorted(sys.modules.items())
    if Path(getattr(module, "__file__", None) or "/").parent.is_relative_to(stdlib)
    and "-packages" not in module.__file__ and module.__file__.endswith(".py")
    and not Path(importlib.util.cache_from_source(module.__file__)).exists()
]

# And it is the real one when it is used.
said["evaluate"] = registry.hf_evaluate.load is importlib.import_module("evaluate").load
from transformers.generation import candidate_generator
from transformers.loss import loss_for_object_detection
import torch
curve = candidate_generator.roc_curve([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2])
said["roc_curve"] = [list(map(float, part))[1:] for part in curve[:2]]
assignment = loss_for_object_detection.linear_sum_assignment([[4, 1], [2, 8]])
said["assignment"] = [list(map(int, part)) for part in assignment]
said["tensor"] = torch.distributed.tensor.DTensor.__module__
said["compiled"] = float(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(())))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Nothing stepped aside.
    assert "lmms-eval-runner" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_tasks_are_the_same_in_the_same_order(said: dict[str, Any]) -> None:
    assert said["same index"] and said["index"] > 1900
    assert said["files"] > 1900 and not said["other files"]


def test_what_is_put_off_is_not_imported(said: dict[str, Any]) -> None:
    assert said["loaded"] == []
    # What loads models needs this one.
    assert said["loaded with transformers"] == ["torch.distributed.tensor"]
    assert len(said["deferred"]) == 7


def test_what_is_put_off_is_the_real_one_when_it_is_used(said: dict[str, Any]) -> None:
    assert said["evaluate"]
    assert said["roc_curve"] == [[0.0, 0.0, 1.0], [0.5, 1.0, 1.0]]
    assert said["assignment"] == [[0, 1], [1, 0]]
    assert said["tensor"].startswith("torch.distributed.tensor")
    assert said["compiled"] == 2.0


def test_garbage_is_collected_again_once_the_adapter_is_imported(said: dict[str, Any]) -> None:
    assert said["collects"] == [False, True]


def test_no_module_of_the_standard_library_is_compiled_at_each_start(said: dict[str, Any]) -> None:
    assert said["without bytecode"] == []
