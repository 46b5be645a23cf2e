"""Evaluations in a file: LMMEvaluations as kubectl applies them, or the YAML that lmms-eval takes by --config."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic.alias_generators import to_snake

from lmms_eval_client.cli import parsing, unused
from lmms_eval_core import names

JSON = dict[str, Any]

# Fields of a spec that the wire calls otherwise, and those that no request has.
WIRE_NAMES: Final = {"gpus": "num_gpus"}
NOT_ASKED_FOR: Final = frozenset({"cancel"})
# Their keys are the user's own.
FREE_KEYS: Final = frozenset({"model_args", "node_selector"})
CONFIG_NAMES: Final = {"output_path": "output_dir"}


# Of lmms-eval's configurations, for the machine that they were written for: the pod has caches and GPUs of its own.
POD_VARIABLES: Final = re.compile(
    r"HF_HOME|HF_(DATASETS|HUB)_CACHE|TRANSFORMERS_CACHE|XDG_CACHE_HOME|(CUDA|NVIDIA)_VISIBLE_DEVICES|MASTER_(ADDR|PORT)"
    r"|(LOCAL_)?(RANK|WORLD_SIZE)"
)
VARIABLE: Final = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\})")


class FileContent(NamedTuple):
    """The requests in a file, in their order, and what has no effect of what it says."""

    requests: list[JSON]
    warnings: list[str]


def read_file(path: Path, environ: Mapping[str, str]) -> FileContent:
    """Return what is in a file; a ValueError says what is wrong.

    `environ` is for `${NAME}` in lmms-eval's configurations.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    warnings: list[str] = []
    found = [make_request(entry, environ, warnings) for entry in _list_entries(documents)]
    if not found:
        raise ValueError(f"{path} holds no evaluation")
    return FileContent(found, list(dict.fromkeys(warnings)))


def make_request(document: Any, environ: Mapping[str, str], warnings: list[str]) -> JSON:
    """Return one evaluation as the fields of a request; what has no effect is added to `warnings`."""
    if not isinstance(document, dict):
        raise ValueError("an evaluation is a mapping: an LMMEvaluation, or a configuration of lmms-eval")
    if "kind" not in document:
        return _convert_config(document, environ, warnings)
    if document["kind"] != names.KIND:
        raise ValueError(f"kind is {document['kind']}; only {names.KIND} can be submitted")
    return _convert_evaluation(document)


def _list_entries(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        # lmms-eval's own form of several evaluations in one file.
        yield from document if isinstance(document, list) else [document] if document is not None else []


def _convert_evaluation(document: JSON) -> JSON:
    spec, metadata = document.get("spec") or {}, document.get("metadata") or {}
    fields = {to_snake(name): value for name, value in spec.items() if name not in NOT_ASKED_FOR}
    wire = {
        WIRE_NAMES.get(name, name): value if name in FREE_KEYS else _convert_to_snake_case(value)
        for name, value in fields.items()
    }
    own = {"name": metadata.get("name"), "labels": metadata.get("labels")}
    return wire | {name: value for name, value in own.items() if value}


def _convert_config(document: JSON, environ: Mapping[str, str], warnings: list[str]) -> JSON:
    given = unused.drop_unused(document, warnings)
    fields = {CONFIG_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    if fields.get("limit") == -1:
        del fields["limit"]
    if isinstance(fields.get("tasks"), str):
        fields["tasks"] = parsing.split_list(fields["tasks"])
    if isinstance(fields.get("model_args"), str):
        fields["model_args"] = parsing.parse_model_args(fields["model_args"])
    if isinstance(fields.get("env"), dict):
        fields["env"] = _convert_env(fields["env"], environ, warnings)
    if isinstance(fields.get("seed"), list):
        fields["seed"] = ",".join(map(str, fields["seed"]))
    return fields


def _convert_env(variables: JSON, environ: Mapping[str, str], warnings: list[str]) -> list[JSON]:
    own = [name for name in variables if POD_VARIABLES.fullmatch(str(name))]
    warnings += [f"env.{name} has no effect here: the pod has its own." for name in own]
    return [
        {"name": str(name), "value": _expand_variables(str(name), str(value), environ)}
        for name, value in variables.items()
        if name not in own
    ]


def _expand_variables(name: str, value: str, environ: Mapping[str, str]) -> str:
    """Return the value with variables of this machine expanded.

    A secret's is unchanged: it is refused, and must not be read.
    """

    def replacement(match: re.Match[str]) -> str:
        wanted = match["plain"] or match["braced"]
        if parsing.is_secret(wanted, match[0]):
            raise ValueError(
                f"env.{name} would write down {wanted}, a secret by its name: give {name} by --env {name}=SECRET/KEY"
            )
        if wanted in environ or match["default"] is not None:
            return environ.get(wanted) or match["default"] or ""
        raise ValueError(
            f"env.{name} wants ${{{wanted}}}, which is not set here: set it, or write ${{{wanted}:-DEFAULT}}"
        )

    return value if parsing.is_secret(name, value) else VARIABLE.sub(replacement, value)


def _convert_to_snake_case(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_snake(name): _convert_to_snake_case(part) for name, part in value.items()}
    return [_convert_to_snake_case(part) for part in value] if isinstance(value, list) else value
