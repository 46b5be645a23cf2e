"""How many GPUs a pod asks for, and how many processes share them. Pure arithmetic over the spec, for `job_manifest`.

lmms-eval's own server starts `accelerate launch` with as many processes as GPUs were asked for. That suits adapters
that hold one copy of the model per process, and only those. `spec.processes` says it; where it does not:

    what modelArgs say                                 processes   why
    data_parallel_size D > 1                           T x D       vLLM's adapter wants the world to be that large
    tensor_parallel_size (tp_size) T > 1               1           vLLM and SGLang start their workers themselves
    device_map auto, balanced, ...; parallelize true   1           one process spreads the model over all GPUs
    anything else                                      gpus        data parallel, as upstream
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from lmms_eval_core.schema import Scalar
from lmms_eval_core.spec import DATA_PARALLEL, MAX_GPUS, PARALLEL_SIZE, TENSOR_PARALLEL, EvaluationSpec

SPREADING_DEVICE_MAPS: Final = frozenset({"auto", "balanced", "balanced_low_0", "sequential"})


class CannotRun(Exception):
    """The spec asks for something that admission could not see to be impossible; the message is for its author."""


class Launch(NamedTuple):
    """GPUs of the pod, and processes that lmms-eval runs as."""

    gpus: int
    processes: int


def plan_launch(spec: EvaluationSpec) -> Launch:
    """Return the launch of one evaluation; raises CannotRun.

    A parallel size beyond `spec.gpus` counts: the run could not start with less.
    """
    arguments = spec.model_args or {}
    tensor, data = _read_size(arguments, TENSOR_PARALLEL), _read_size(arguments, DATA_PARALLEL)
    if tensor * data > MAX_GPUS:
        raise CannotRun(
            f"modelArgs ask for {tensor} x {data} GPUs (tensor x data parallel size); a pod gets at most {MAX_GPUS}"
        )
    gpus = max(spec.gpus, tensor * data) if tensor * data > 1 else spec.gpus
    if spec.processes is not None:
        return Launch(gpus, _check_processes(spec.processes, gpus))
    if data > 1:
        return Launch(gpus, tensor * data)
    if tensor > 1 or _has_spreading_device_map(arguments):
        return Launch(gpus, 1)
    return Launch(gpus, max(1, gpus))


def _check_processes(processes: int, gpus: int) -> int:
    # Each takes the GPU of its own number, so that one too many finds none.
    if processes > max(1, gpus):
        raise CannotRun(
            f"spec.processes is {processes}, and the pod gets {gpus} GPUs: a process needs one of its own at least"
        )
    return processes


def _read_size(arguments: Mapping[str, Scalar], spellings: tuple[str, ...]) -> int:
    """Return the first spelling that is a number; 1 if none is."""
    for spelling in spellings:
        value = str(arguments.get(spelling, ""))
        if re.fullmatch("[0-9]+", value):
            return max(1, _parse_size(spelling, value))
    return 1


def _parse_size(name: str, digits: str) -> int:
    # Python refuses to read numbers of thousands of digits, with an exception of its own.
    if not re.fullmatch(PARALLEL_SIZE, digits):
        raise CannotRun(
            f"modelArgs.{name} must be at most {MAX_GPUS}, as a pod gets no more GPUs, and is {digits[:20]}"
        )
    return int(digits)


def _has_spreading_device_map(arguments: Mapping[str, Scalar]) -> bool:
    return str(arguments.get("device_map", "")) in SPREADING_DEVICE_MAPS or str(arguments.get("parallelize", "")) in (
        "True",
        "true",
    )
