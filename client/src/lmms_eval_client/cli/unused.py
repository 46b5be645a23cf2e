"""Flags of lmms-eval that change nothing here, or cannot be had: taken with a warning, or refused, with the reason.

docs/client.md has the same tables. The keys of a configuration of lmms-eval are these flags too.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple


class UnusedFlag(NamedTuple):
    """Flags with one reason; `has_value` where the flag takes one."""

    options: tuple[str, ...]
    why: str
    has_value: bool = True


TRACKERS: Final = (
    "would put a tracker's credentials into the pod that runs the model: send `results --json` and "
    "`samples` from where you are"
)
FILE_NAMES: Final = "names files: here they are found by job and task"
DEFAULTS: Final = "as lmms-eval has it by default"
NOT_AN_EVALUATION: Final = "evaluates nothing: lmms-eval on any machine does it"

TAKEN: Final = (
    UnusedFlag(
        ("--use_cache", "-c"), "an evaluation is computed, not put together from answers that another one left behind"
    ),
    UnusedFlag(
        ("--cache_requests",), "an evaluation is computed, not put together from answers that another one left behind"
    ),
    UnusedFlag(("--wandb_args",), TRACKERS),
    UnusedFlag(("--wandb_log_samples",), TRACKERS, has_value=False),
    UnusedFlag(("--swanlab_args",), TRACKERS),
    UnusedFlag(("--swanlab_log_samples",), TRACKERS, has_value=False),
    UnusedFlag(("--hf_hub_log_args",), TRACKERS),
    UnusedFlag(("--log_samples_suffix",), FILE_NAMES),
    UnusedFlag(("--timezone",), FILE_NAMES),
    UnusedFlag(("--show_config",), "the tasks' configuration is in `results --json`", has_value=False),
    UnusedFlag(("--verbosity",), DEFAULTS),
    UnusedFlag(("--process_docs_parallel",), DEFAULTS),
    UnusedFlag(("--agentic_trace_mode",), DEFAULTS),
    UnusedFlag(
        ("--max_batch_size",), "bounds the search of `--batch_size auto`, which lmms-eval's server cannot bound either"
    ),
    UnusedFlag(("--baseline",), "compares with a file of another run: `lmmeval compare` does it with two jobs"),
    UnusedFlag(("--write_out",), "gone in favour of `--log_samples`, says lmms-eval", has_value=False),
    UnusedFlag(("--tui",), "asks at a terminal, where the run is", has_value=False),
)
REFUSED: Final = (
    UnusedFlag(("--config",), "here it is `-f`, which takes the same file"),
    UnusedFlag(
        ("--launcher_args",),
        "starts a judge beside the model: here a judge is reached at its address, by `--env` and `--env-value`",
    ),
    UnusedFlag(("--check_integrity",), NOT_AN_EVALUATION, has_value=False),
    UnusedFlag(("--power-analysis",), NOT_AN_EVALUATION, has_value=False),
    *(
        UnusedFlag((f"--{name}",), NOT_AN_EVALUATION)
        for name in ("effect-size", "alpha", "power", "correlation", "std-a", "std-b")
    ),
)


def name_parameter(unused: UnusedFlag) -> str:
    """Return the flag's name as a parameter, and as a key of a configuration."""
    return unused.options[0].removeprefix("--").replace("-", "_")


def make_warning(unused: UnusedFlag) -> str:
    """Return the warning about a flag that is given and has no effect."""
    return f"{unused.options[0]} has no effect here: {unused.why}."


def explain_refusal(typed: str) -> str:
    """Return why the flag `typed` is refused; empty where it is not."""
    name = typed.replace("_", "-")
    found = next(
        (unused for unused in REFUSED if name in (option.replace("_", "-") for option in unused.options)), None
    )
    return f"{typed} cannot be had here: {found.why}." if found else ""


def drop_unused(fields: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the keys of a configuration that have an effect here; ValueError for one that is refused."""
    for unused in REFUSED:
        if fields.get(name_parameter(unused)):
            raise ValueError(f"{name_parameter(unused)} cannot be had here: {unused.why}")
    given = {name_parameter(unused): unused for unused in TAKEN if name_parameter(unused) in fields}
    warnings += [f"{name} has no effect here: {unused.why}." for name, unused in given.items() if fields[name]]
    return {name: value for name, value in fields.items() if name not in given and name not in _list_refused_names()}


def _list_refused_names() -> Iterator[str]:
    return (name_parameter(unused) for unused in REFUSED)
