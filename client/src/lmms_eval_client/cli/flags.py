"""The flags of an evaluation, named as lmms-eval's own; those beyond it are made from the fields of the request."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import typer

from lmms_eval_client.cli import completion, parsing, unused
from lmms_eval_client.cli.exits import CliError
from lmms_eval_core.wire import EvaluateRequest, Resources

JSON = dict[str, Any]
Text, Texts, Number, YesNo = str | None, list[str] | None, int | None, bool | None

HARNESS: Final = "The evaluation, as in lmms-eval"
POD: Final = "Its pod"
QUEUE: Final = "Its place and its time"
BEYOND: Final = "Beyond upstream: "


def keep_value(value: Any) -> Any:
    """Return the value unchanged."""
    return value


class EvaluationFlag(NamedTuple):
    """One flag: the field that it fills, what it takes, what it is called, what becomes of it."""

    name: str
    kind: Any
    options: tuple[str, ...]
    help: str
    panel: str
    metavar: str | None = None
    parse: Callable[[Any], Any] = keep_value
    complete: Callable[[str], list[str]] | None = None


WRITTEN: Final = (
    EvaluationFlag(
        "model",
        Text,
        ("--model",),
        "Model adapter; `lmmeval models` lists them.",
        HARNESS,
        "ID",
        complete=completion.complete_models,
    ),
    EvaluationFlag(
        "model_args",
        Text,
        ("--model_args",),
        "Arguments of the adapter; JSON is taken too.",
        HARNESS,
        "K=V,...",
        parsing.parse_model_args,
    ),
    EvaluationFlag(
        "tasks",
        Texts,
        ("--tasks",),
        "Tasks, groups or tags; `lmmeval tasks` lists them.",
        HARNESS,
        "NAME,...",
        parsing.parse_tasks,
        completion.complete_tasks,
    ),
    EvaluationFlag("num_fewshot", Number, ("--num_fewshot",), "Examples in the prompt.", HARNESS, "N"),
    EvaluationFlag("batch_size", Text, ("--batch_size", "-b"), "A number, auto, or auto:N.", HARNESS, "N"),
    EvaluationFlag(
        "limit", Text, ("--limit",), "Documents of each task, or a fraction below 1.", HARNESS, "N", parsing.parse_limit
    ),
    EvaluationFlag("gen_kwargs", Text, ("--gen_kwargs",), "Of the generation, as temperature=0.", HARNESS, "K=V,..."),
    EvaluationFlag(
        "log_samples", YesNo, ("--log_samples/--no-log_samples",), "Keep every sample's answer; the default.", HARNESS
    ),
    EvaluationFlag("predict_only", YesNo, ("--predict_only", "-x"), "Only answers, no scores.", HARNESS),
    EvaluationFlag(
        "device", Text, ("--device",), "cpu: without GPU. Where else it runs is the cluster's choice.", HARNESS, "NAME"
    ),
    EvaluationFlag(
        "output_dir", Text, ("--output_path",), "Taken and not used: results are in the store.", HARNESS, "PATH"
    ),
    EvaluationFlag("num_gpus", Number, ("--gpus", "--num_gpus"), "1 unless given; 0 runs on the CPU.", POD, "N"),
    EvaluationFlag(
        "env", Texts, ("--env",), "A variable, from a Secret.", POD, "NAME=SECRET/KEY", parsing.parse_secret_env
    ),
    EvaluationFlag(
        "env_value", Texts, ("--env-value",), "A variable, as plain text.", POD, "NAME=VALUE", parsing.parse_plain_env
    ),
    EvaluationFlag(
        "volumes",
        Texts,
        ("--volume",),
        "A claim to mount; to write to it with :rw at the end.",
        POD,
        "CLAIM:/PATH",
        parsing.parse_volumes,
    ),
    EvaluationFlag(
        "node_selector",
        Texts,
        ("--node-selector",),
        "A label that the node has.",
        POD,
        "KEY=VALUE",
        parsing.parse_labels,
    ),
    EvaluationFlag(
        "tolerations",
        Texts,
        ("--toleration",),
        "A taint to bear.",
        POD,
        "KEY[=VALUE][:EFFECT]",
        parsing.parse_tolerations,
    ),
    *(
        EvaluationFlag(name, Text, (f"--{name}",), "As 4, 500m or 16Gi.", POD, "QUANTITY")
        for name in Resources.model_fields
    ),
    EvaluationFlag(
        "gate",
        Text,
        ("--gate",),
        'What it must not lose, as {"baseline": {"evaluation": "main"}, "rules": [{"maxDrop": 0.01}]}.',
        QUEUE,
        "JSON",
        parsing.parse_gate,
    ),
    EvaluationFlag("name", Text, ("--name",), "The job's id; one is made where it is not given.", QUEUE, "NAME"),
    EvaluationFlag("labels", Texts, ("--label", "-l"), "To find it by.", QUEUE, "KEY=VALUE", parsing.parse_labels),
)
QUEUE_FIELDS: Final = frozenset(
    {
        *("priority", "hold", "retries", "resume", "ttl_seconds_after_finished", "keep"),
        *("timeout_seconds", "stall_timeout_seconds"),
    }
)
POD_FIELDS: Final = frozenset({"processes", "image", "priority_class_name", "runtime_class_name"})
KINDS: Final = {int: (Number, "N"), bool: (YesNo, None)}
# Of fields that the resource describes by lmms-eval's flag alone.
# lmms-eval's other name of a flag; its third, -n, is the namespace here, as in kubectl.
ALIASES: Final = {"repeats": ("--num_samples",)}
MEANINGS: Final = {
    "offset": "First document of each task.",
    "repeats": "Answers for each document.",
    "system_instruction": "The system prompt.",
    "apply_chat_template": "Put prompts into the model's chat template.",
    "fewshot_as_multiturn": "Examples as turns of a conversation.",
    "reasoning_tags": "Tags whose content is not scored, as JSON; none to keep all.",
    "max_tokens": "Stop after so many tokens.",
    "force_simple": "The simple adapter, not the chat one.",
    "process_with_media": "Score with images and audio at hand.",
    "priority_class_name": "PriorityClass of the pod.",
    "runtime_class_name": "RuntimeClass of the pod.",
    "media": "Pictures and sounds to keep: none, thumbs, display, original.",
    "resume": "Go on with answers of earlier attempts: never, sameHardware (unless given), acrossHardware.",
}


def _make_flag(name: str) -> EvaluationFlag:
    """The flag of a field beyond lmms-eval's server, with the field's own description."""
    field = EvaluateRequest.model_fields[name]
    panel = QUEUE if name in QUEUE_FIELDS else POD if name in POD_FIELDS else HARNESS
    kind, metavar = next(
        (made for plain, made in KINDS.items() if field.annotation in (plain, plain | None)), (Text, "TEXT")
    )
    return EvaluationFlag(
        name,
        kind,
        (f"--{name}", *ALIASES.get(name, ())),
        MEANINGS.get(name) or (field.description or "").removeprefix(BEYOND),
        panel,
        metavar,
    )


FLAGS: Final = (
    *WRITTEN,
    *(
        _make_flag(name)
        for name in EvaluateRequest.model_fields
        if name not in {flag.name for flag in WRITTEN} | {"resources"}
    ),
)


def list_parameters() -> list[inspect.Parameter]:
    """Return the flags as parameters of a command; None where one is not given. Those without effect are not shown."""
    shown = {flag.name: _annotate(flag) for flag in FLAGS}
    hidden = {unused.name_parameter(flag): _annotate_hidden(flag) for flag in unused.TAKEN}
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in (shown | hidden).items()
    ]


def list_warnings(given: JSON) -> list[str]:
    """Return the warnings about flags that have no effect."""
    return [unused.make_warning(flag) for flag in unused.TAKEN if given[unused.name_parameter(flag)]]


def read_fields(given: JSON) -> JSON:
    """Return the fields of a request in the flags of a command line."""
    read = {flag.name: _parse_value(flag, given[flag.name]) for flag in FLAGS if given[flag.name] not in (None, [])}
    found = {name: value for name, value in read.items() if value is not None}
    env = found.pop("env", []) + found.pop("env_value", [])
    resources = {name: found.pop(name) for name in Resources.model_fields if name in found}
    return found | {name: value for name, value in (("env", env), ("resources", resources)) if value}


def _parse_value(flag: EvaluationFlag, value: Any) -> Any:
    try:
        return flag.parse(value)
    except ValueError as error:
        raise CliError(f"{error}.") from error


def _annotate_hidden(flag: unused.UnusedFlag) -> Any:
    return Annotated[Text if flag.has_value else YesNo, typer.Option(*flag.options, hidden=True)]


def _annotate(flag: EvaluationFlag) -> Any:
    option = typer.Option(
        *flag.options,
        help=flag.help,
        metavar=flag.metavar,
        rich_help_panel=flag.panel,
        show_default=False,
        autocompletion=flag.complete,
    )
    return Annotated[flag.kind, option]
