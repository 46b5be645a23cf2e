"""From the input of a run to the command line of lmms-eval. Pure: no shell, no file, no environment.

`modelArgs` travel twice: as the usual `k=v,...` text, for logs and file names, and exactly, from `run.json`, which
`progress` hands to the adapter (docs/design/2026-11-23-exact-model-args.md).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from lmms_eval_core.run import Harness, RunInput
from lmms_eval_core.schema import Scalar

VALUES: Final = (
    "num_fewshot",
    "batch_size",
    "limit",
    "offset",
    "gen_kwargs",
    "seed",
    "repeats",
    "system_instruction",
    "reasoning_tags",
    "max_tokens",
    "include_path",
)
SWITCHES: Final = (
    "apply_chat_template",
    "fewshot_as_multiturn",
    "force_simple",
    "process_with_media",
    "log_samples",
    "predict_only",
)

# Words that make lmms-eval print a list and end well, instead of evaluating a task.
LISTINGS: Final = frozenset({"list", "list_groups", "list_subtasks", "list_tags"})

# lmms-eval itself, started in less time.
HARNESS: Final = "lmms_eval_runner.warm_start"

# In its place accelerate would take one from HF_HOME, which other evaluations can write to.
LAUNCH_FILE: Final = Path(__file__).with_name("accelerate.json")

# The arguments by which adapters take their model.
MODEL_KEYS: Final = ("pretrained", "model", "model_version", "model_name", "model_id", "path")

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@+-]+")


def command(run: RunInput, *, python: str, output: Path, port: int) -> list[str]:
    """The argument vector: lmms-eval itself, or `accelerate launch` with one process per GPU in front of it.

    `port` is where the processes of one run find each other.
    """
    launcher = _launcher(run.processes, port) if run.processes > 1 else []
    return [python, "-m", *launcher, HARNESS, *_harness(run.harness, output)]


def model_args_text(model_args: Mapping[str, Scalar]) -> str:
    """The usual text of model arguments. Reading it back may change values: see `reads_back`."""
    return ",".join(f"{name}={value}" for name, value in model_args.items())


def reads_back(model_args: Mapping[str, Scalar]) -> bool:
    """Whether lmms-eval's own parser surely makes the same values of the text again."""
    return all(name.isidentifier() and _value_reads_back(value) for name, value in model_args.items())


def model_arg(model_args: Mapping[str, Scalar], names: Iterable[str]) -> str:
    """The first of `names` that the model arguments give; empty where they give none."""
    return next((str(model_args[name]) for name in names if name in model_args), "")


def problem(harness: Harness) -> str | None:
    """What a command line cannot carry, as a sentence; None when there is nothing."""
    for name, value in _texts(harness):
        if "\0" in value:
            return f"{name} contains a NUL character, which no command line can carry; remove it"
    return None


def not_a_task(harness: Harness) -> str | None:
    """The word among the tasks that lmms-eval would take for a request to print a list."""
    return next((task for task in harness.tasks if task in LISTINGS), None)


def _launcher(processes: int, port: int) -> list[str]:
    placement = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", str(port)]
    return ["accelerate.commands.launch", "--config_file", str(LAUNCH_FILE), "--multi_gpu", *placement, "-m"]


def _harness(harness: Harness, output: Path) -> list[str]:
    # Always --name=value: a value that begins with a dash would otherwise be taken for an option.
    arguments = [f"--model={harness.model}", f"--tasks={','.join(harness.tasks)}"]
    if harness.model_args:
        arguments.append(f"--model_args={model_args_text(harness.model_args)}")
    values = ((name, getattr(harness, name)) for name in VALUES)
    arguments += [f"--{name}={_text(value)}" for name, value in values if value is not None]
    arguments += [f"--{name}" for name in SWITCHES if getattr(harness, name)]
    return [*arguments, f"--output_path={output}", "--timezone=UTC"]


def _text(value: Scalar) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _value_reads_back(value: Scalar) -> bool:
    if isinstance(value, bool | float):
        return value == value
    if isinstance(value, int):
        return value >= 0
    return _PLAIN_VALUE.fullmatch(value) is not None and not _looks_typed(value)


def _looks_typed(value: str) -> bool:
    if value.lower() in ("true", "false"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def _texts(harness: Harness) -> Iterator[tuple[str, str]]:
    yield "model", harness.model
    for task in harness.tasks:
        yield "tasks", task
    for name, value in harness.model_args.items():
        yield f"modelArgs.{name}", f"{name}{value}"
    for name in VALUES:
        yield name, str(getattr(harness, name))
