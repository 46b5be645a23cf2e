"""Evaluations in a file: LMMEvaluations as kubectl applies them, or the YAML that lmms-eval takes by --config."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.alias_generators import to_snake

from lmms_eval_client.cli import parsing
from lmms_eval_core import names

JSON = dict[str, Any]

# Fields of a spec that the wire calls otherwise, and those that no request has.
WIRE_NAMES: Final = {"gpus": "num_gpus"}
NOT_ASKED_FOR: Final = frozenset({"cancel"})
# Their keys are the user's own.
FREE_KEYS: Final = frozenset({"model_args", "node_selector"})
CONFIG_NAMES: Final = {"output_path": "output_dir"}


def requests(path: Path) -> list[JSON]:
    """The requests in a file, in their order; a ValueError says what is wrong with it."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    found = [request(entry) for entry in _entries(documents)]
    if not found:
        raise ValueError(f"{path} holds no evaluation")
    return found


def request(document: Any) -> JSON:
    """One evaluation as the fields of a request."""
    if not isinstance(document, dict):
        raise ValueError("an evaluation is a mapping: an LMMEvaluation, or a configuration of lmms-eval")
    if "kind" not in document:
        return _from_config(document)
    if document["kind"] != names.KIND:
        raise ValueError(f"kind is {document['kind']}; only {names.KIND} can be submitted")
    return _from_evaluation(document)


def _entries(documents: Iterable[Any]) -> Iterable[Any]:
    for document in documents:
        # lmms-eval's own form of several evaluations in one file.
        yield from document if isinstance(document, list) else [document] if document is not None else []


def _from_evaluation(document: JSON) -> JSON:
    spec, metadata = document.get("spec") or {}, document.get("metadata") or {}
    fields = {to_snake(name): value for name, value in spec.items() if name not in NOT_ASKED_FOR}
    wire = {WIRE_NAMES.get(name, name): value if name in FREE_KEYS else _snake(value) for name, value in fields.items()}
    own = {"name": metadata.get("name"), "labels": metadata.get("labels")}
    return wire | {name: value for name, value in own.items() if value}


def _from_config(document: JSON) -> JSON:
    fields = {CONFIG_NAMES.get(name, name): value for name, value in document.items() if value is not None}
    if isinstance(fields.get("tasks"), str):
        fields["tasks"] = parsing.split(fields["tasks"])
    if isinstance(fields.get("model_args"), str):
        fields["model_args"] = parsing.model_args(fields["model_args"])
    if isinstance(fields.get("env"), dict):
        fields["env"] = [{"name": name, "value": str(value)} for name, value in fields["env"].items()]
    if isinstance(fields.get("seed"), list):
        fields["seed"] = ",".join(map(str, fields["seed"]))
    return fields


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_snake(name): _snake(part) for name, part in value.items()}
    return [_snake(part) for part in value] if isinstance(value, list) else value
