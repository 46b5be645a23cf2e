"""What must be the same for an earlier answer to be an answer of this run: each part by name, so that a difference has
one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lmms_eval_core.run import RunInput
from lmms_eval_runner.arguments import MODEL_KEYS, find_model_arg
from lmms_eval_runner.environment import read_package_versions

from .files import HARDWARE
from .task_data import describe_task
from .weights import describe_weights, find_modules, is_on_cpu

PACKAGES: Final = (
    "lmms-eval",
    "torch",
    "torchvision",
    "transformers",
    "accelerate",
    "tokenizers",
    "datasets",
    "pillow",
    "numpy",
    "vllm",
    "sglang",
    "openai",
)


def compute_parts(run: RunInput, adapter: Any, tasks: Mapping[str, Any], *, package: Path) -> dict[str, Any]:
    """Return the parts, as plain JSON; `package` is the folder of lmms-eval."""
    return {
        "run": run.compute_fingerprint(),
        "adapter": f"{type(adapter).__module__}.{type(adapter).__qualname__}",
        "packages": read_package_versions(PACKAGES),
        HARDWARE: describe_hardware(),
        "weights": describe_weights(adapter, find_model_arg(run.harness.model_args, MODEL_KEYS)),
        "tasks": {name: describe_task(task, package) for name, task in sorted(tasks.items())},
    }


def describe_hardware() -> list[str]:
    """Return what computes: another kind of GPU, or another library for it, gives other last digits."""
    import torch

    if not torch.cuda.is_available():
        return ["cpu", str(torch.backends.cpu.get_cpu_capability())]
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [*devices, f"CUDA {torch.version.cuda}"]


def is_exact(adapter: Any) -> bool:
    """Return whether the run would repeat itself to the last digit: in this process, and by deterministic kernels."""
    import torch

    modules = find_modules(adapter)
    return bool(modules) and (torch.are_deterministic_algorithms_enabled() or is_on_cpu(modules.values()))
