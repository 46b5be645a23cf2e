"""From the input of a run to the command line of lmms-eval. Pure: no shell, no file, no environment.

`modelArgs` travel twice: as the usual `k=v,...` text, for logs and file names, and exactly, from `run.json`, which
`progress` hands to the adapter (docs/design/2026-11-23-exact-model-args.md).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from lmms_eval_core.run import HarnessArguments, RunInput
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


def build_command(run: RunInput, *, python: str, output: Path, port: int) -> list[str]:
    """Return the argument vector: lmms-eval itself, or `accelerate launch` with one process per GPU in front of it.

    `port` is where the processes of one run find each other.
    """
    launcher = _build_launcher(run.processes, port) if run.processes > 1 else []
    return [python, "-m", *launcher, HARNESS, *_build_flags(run.harness, output)]


def format_model_args(model_args: Mapping[str, Scalar]) -> str:
    """Return model arguments as `k=v,...`. Parsing that text may change values: see `is_parsed_exactly`."""
    return ",".join(f"{name}={value}" for name, value in model_args.items())


def is_parsed_exactly(model_args: Mapping[str, Scalar]) -> bool:
    """Return whether lmms-eval's own parser surely makes the same values of the text again."""
    return all(name.isidentifier() and _is_value_parsed_exactly(value) for name, value in model_args.items())


def find_model_arg(model_args: Mapping[str, Scalar], names: Iterable[str]) -> str:
    """Return the value of the first of `names` that the model arguments have; empty where they have none."""
    return next((str(model_args[name]) for name in names if name in model_args), "")


def find_problem(harness: HarnessArguments) -> str | None:
    """Return what a command line cannot carry, as a sentence; None when there is nothing."""
    for name, value in _list_texts(harness):
        if "\0" in value:
            return f"{name} contains a NUL character, which no command line can carry; remove it"
    return None


def find_listing_word(harness: HarnessArguments) -> str | None:
    """Return the word among the tasks that lmms-eval would take for a request to print a list."""
    return next((task for task in harness.tasks if task in LISTINGS), None)


def _build_launcher(processes: int, port: int) -> list[str]:
    placement = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", str(port)]
    return ["accelerate.commands.launch", "--config_file", str(LAUNCH_FILE), "--multi_gpu", *placement, "-m"]


def _build_flags(harness: HarnessArguments, output: Path) -> list[str]:
    # Always --name=value: a value that begins with a dash would otherwise be taken for an option.
    arguments = [f"--model={harness.model}", f"--tasks={','.join(harness.tasks)}"]
    if harness.model_args:
        arguments.append(f"--model_args={format_model_args(harness.model_args)}")
    values = ((name, getattr(harness, name)) for name in VALUES)
    arguments += [f"--{name}={_format_value(value)}" for name, value in values if value is not None]
    arguments += [f"--{name}" for name in SWITCHES if getattr(harness, name)]
    return [*arguments, f"--output_path={output}", "--timezone=UTC"]


def _format_value(value: Scalar) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _is_value_parsed_exactly(value: Scalar) -> bool:
    if isinstance(value, bool | float):
        return value == value
    if isinstance(value, int):
        return value >= 0
    return _PLAIN_VALUE.fullmatch(value) is not None and not _is_converted(value)


def _is_converted(value: str) -> bool:
    """Return whether lmms-eval's parser makes a bool or a number of a text."""
    if value.lower() in ("true", "false"):
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def _list_texts(harness: HarnessArguments) -> Iterator[tuple[str, str]]:
    yield "model", harness.model
    for task in harness.tasks:
        yield "tasks", task
    for name, value in harness.model_args.items():
        yield f"modelArgs.{name}", f"{name}{value}"
    for name in VALUES:
        yield name, str(getattr(harness, name))
