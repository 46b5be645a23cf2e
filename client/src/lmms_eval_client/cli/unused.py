"""Flags of lmms-eval that change nothing here, or cannot be had: taken with a warning, or refused, with the reason.

docs/client.md has the same tables. The keys of a configuration of lmms-eval are these flags too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class Unused(NamedTuple):
    """Flags with one reason; `has_value` where the flag takes one."""

    options: tuple[str, ...]
    why: str
    has_value: bool = True


TRACKERS: Final = (
    "would put a tracker's credentials into the pod that runs the model: send `results --json` and `samples` from where you are"
)
FILE_NAMES: Final = "names files: here they are found by job and task"
DEFAULTS: Final = "as lmms-eval has it by default"
NOT_AN_EVALUATION: Final = "evaluates nothing: lmms-eval on any machine does it"

TAKEN: Final = (
    Unused(("--use_cache", "-c"), "an evaluation is computed, not put together from answers that another one left behind"),
    Unused(("--cache_requests",), "an evaluation is computed, not put together from answers that another one left behind"),
    Unused(("--wandb_args",), TRACKERS),
    Unused(("--wandb_log_samples",), TRACKERS, has_value=False),
    Unused(("--swanlab_args",), TRACKERS),
    Unused(("--swanlab_log_samples",), TRACKERS, has_value=False),
    Unused(("--hf_hub_log_args",), TRACKERS),
    Unused(("--log_samples_suffix",), FILE_NAMES),
    Unused(("--timezone",), FILE_NAMES),
    Unused(("--show_config",), "the tasks' configuration is in `results --json`", has_value=False),
    Unused(("--verbosity",), DEFAULTS),
    Unused(("--process_docs_parallel",), DEFAULTS),
    Unused(("--agentic_trace_mode",), DEFAULTS),
    Unused(("--max_batch_size",), "bounds the search of `--batch_size auto`, which lmms-eval's server cannot bound either"),
    Unused(("--baseline",), "compares with a file of another run: take `samples` of both"),
    Unused(("--write_out",), "gone in favour of `--log_samples`, says lmms-eval", has_value=False),
    Unused(("--tui",), "asks at a terminal, where the run is", has_value=False),
)
REFUSED: Final = (
    Unused(("--config",), "here it is `-f`, which takes the same file"),
    Unused(
        ("--launcher_args",),
        "starts a judge beside the model: here a judge is reached at its address, by `--env` and `--env-value`",
    ),
    Unused(("--check_integrity",), NOT_AN_EVALUATION, has_value=False),
    Unused(("--power-analysis",), NOT_AN_EVALUATION, has_value=False),
    *(Unused((f"--{name}",), NOT_AN_EVALUATION) for name in ("effect-size", "alpha", "power", "correlation", "std-a", "std-b")),
)


def parameter(unused: Unused) -> str:
    """Its name as a parameter, and as a key of a configuration."""
    return unused.options[0].removeprefix("--").replace("-", "_")


def warning(unused: Unused) -> str:
    """What is said of one that is given and taken."""
    return f"{unused.options[0]} has no effect here: {unused.why}."


def refusal(typed: str) -> str:
    """Why the flag `typed` is refused; empty where it is none of these."""
    name = typed.replace("_", "-")
    found = next((unused for unused in REFUSED if name in (option.replace("_", "-") for option in unused.options)), None)
    return f"{typed} cannot be had here: {found.why}." if found else ""


def without_unused(fields: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """The keys of a configuration that mean something here; ValueError for one that cannot be had."""
    for unused in REFUSED:
        if fields.get(parameter(unused)):
            raise ValueError(f"{parameter(unused)} cannot be had here: {unused.why}")
    given = {parameter(unused): unused for unused in TAKEN if parameter(unused) in fields}
    warnings += [f"{name} has no effect here: {unused.why}." for name, unused in given.items() if fields[name]]
    return {name: value for name, value in fields.items() if name not in given and name not in _refused_names()}


def _refused_names() -> Iterator[str]:
    return (parameter(unused) for unused in REFUSED)
