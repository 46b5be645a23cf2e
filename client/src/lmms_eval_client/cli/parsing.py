"""From the words of a command line to the fields of a request. Pure; a ValueError says what to write instead."""

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic.alias_generators import to_snake

from lmms_eval_core.spec import SECRET_ENV, SWITCH

PAIRS: Final = {"{": "}", "[": "]"}
QUOTES: Final = "\"'"
KINDS: Final = {list: "list", dict: "mapping"}
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")

JSON = dict[str, Any]


def parse_model_args(text: str) -> JSON:
    """Parse `k=v,k=v` as lmms-eval reads it: true, false and numbers become what they look like; or a JSON object."""
    if text.lstrip().startswith("{"):
        return _parse_json_object(text)
    pairs = (_parse_pair(part, "--model_args", "pretrained=Qwen/Qwen2.5-VL-7B-Instruct") for part in split_list(text))
    return {key: parse_scalar(value) for key, value in pairs}


def split_list(text: str) -> list[str]:
    """Split at the commas outside of quotes, braces and brackets, as lmms-eval does."""
    parts, start, depth, quote = [], 0, 0, ""
    for index, character in enumerate(text):
        if character in QUOTES and text[index - 1 : index] != "\\":
            quote = ("" if quote == character else quote) if quote else character
        elif not quote and character in PAIRS:
            depth += 1
        elif not quote and character in PAIRS.values():
            depth -= 1
        elif not quote and not depth and character == ",":
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def parse_scalar(text: str) -> bool | int | float | str:
    """Parse a value as lmms-eval does. nan and inf stay text: JSON has no number for them."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def parse_number(text: str) -> int | float:
    """Parse a count, or a fraction."""
    value = parse_scalar(text)
    if isinstance(value, bool | str):
        raise ValueError(f"{text} is no number")
    return value


def parse_limit(text: str) -> int | float | None:
    """Parse a count or a fraction; None for lmms-eval's -1, which is all documents."""
    value = parse_number(text)
    return None if value == -1 else value


def parse_tasks(given: Iterable[str]) -> list[str]:
    """Parse names separated by commas; the flag may be given several times."""
    return [name for text in given for name in split_list(text)]


def parse_labels(given: Iterable[str]) -> dict[str, str]:
    """Parse KEY=VALUE."""
    return dict(_parse_pair(text, "this flag", "key=value") for text in given)


def parse_secret_env(given: Iterable[str]) -> list[JSON]:
    """Parse NAME=SECRET/KEY."""
    return [_parse_reference(text) for text in given]


def parse_plain_env(given: Iterable[str]) -> list[JSON]:
    """Parse NAME=VALUE."""
    return [
        {"name": name, "value": value}
        for name, value in (_parse_pair(text, "--env-value", "NAME=value") for text in given)
    ]


def parse_volumes(given: Iterable[str]) -> list[JSON]:
    """Parse CLAIM:/PATH, with :rw at the end to write to it."""
    return [_parse_volume(text) for text in given]


def parse_tolerations(given: Iterable[str]) -> list[JSON]:
    """Parse KEY, KEY=VALUE, each with :EFFECT at the end if wanted, as in `kubectl taint`."""
    return [_parse_toleration(text) for text in given]


def parse_gate(text: str) -> JSON:
    """Parse the rules of a gate, in the words of the resource or of a request."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--gate takes JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError('--gate takes an object, as {"baseline": {"evaluation": "a"}, "rules": [{"maxDrop": 0.01}]}')
    return {to_snake(key): _to_request(part) for key, part in value.items()}


def _to_request(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_snake(key): _to_request(part) for key, part in value.items()}
    return [_to_request(part) for part in value] if isinstance(value, list) else value


def find_problem(fields: JSON) -> str:
    """Return what an evaluation cannot hold, as a sentence with the fix; empty where there is nothing."""
    for name, value in _keep_mapping(fields.get("model_args")).items():
        if isinstance(value, list | dict):
            text = json.dumps(value, ensure_ascii=False, default=str)
            kind = KINDS[type(value)]
            return (
                f"model_args.{name} is a {kind}, and arguments of a model are scalars: give it as JSON text, {text!r}"
            )
    entries = fields.get("env")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and is_secret(str(entry.get("name")), entry.get("value")):
            return (
                f"{entry['name']} is a secret by its name, and is named, never written: --env "
                f"{entry['name']}=SECRET/KEY"
            )
    return ""


def list_warnings(fields: JSON) -> list[str]:
    """Return a warning for each value that is changed on its way."""
    whole = [
        name
        for name, value in _keep_mapping(fields.get("model_args")).items()
        if isinstance(value, float) and value.is_integer()
    ]
    return [
        f"model_args.{name} reaches the model as an integer: Kubernetes stores {fields['model_args'][name]} as a "
        f"whole number."
        for name in whole
    ]


def is_secret(name: str, value: Any) -> bool:
    """Return whether the cluster refuses a variable as a secret in plain text."""
    return value is not None and bool(re.search(SECRET_ENV, name)) and not re.fullmatch(SWITCH, str(value))


def _keep_mapping(value: Any) -> JSON:
    return value if isinstance(value, dict) else {}


def _parse_json_object(text: str) -> JSON:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--model_args begins like JSON and is none: {error}") from error
    if not isinstance(value, dict):
        raise ValueError('--model_args as JSON must be an object, as {"pretrained": "a/b"}')
    return value


def _parse_pair(text: str, flag: str, example: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"{flag} takes {example}, not {text}")
    return key.strip(), value


def _parse_reference(text: str) -> JSON:
    name, reference = _parse_pair(text, "--env", "NAME=secret/KEY")
    secret, slash, key = reference.partition("/")
    if not (slash and secret and key):
        raise ValueError(
            f"--env takes NAME=secret/KEY, a reference to a key of a Secret; {name} as plain text: --env-value"
        )
    return {"name": name, "secret_key_ref": {"name": secret, "key": key}}


def _parse_volume(text: str) -> JSON:
    claim, _, rest = text.partition(":")
    path, _, mode = rest.partition(":")
    if not claim or not path.startswith("/") or mode not in ("", "ro", "rw"):
        raise ValueError(f"--volume takes CLAIM:/path or CLAIM:/path:rw, not {text}")
    return {"claim_name": claim, "mount_path": path, "read_only": mode != "rw"}


def _parse_toleration(text: str) -> JSON:
    pair, _, effect = text.rpartition(":") if text.endswith(tuple(f":{name}" for name in EFFECTS)) else (text, "", "")
    key, equals, value = pair.partition("=")
    wanted = {
        "key": key,
        "operator": "Equal" if equals else "Exists",
        "value": value if equals else None,
        "effect": effect or None,
    }
    return {name: part for name, part in wanted.items() if part is not None}


Parser = Callable[[Any], Any]
