"""Every bound of the CRD, with a whole evaluation that just keeps it and one that just breaks it.

The bounds come from a walk through the schema, so that none is forgotten; CEL rules have a table of their own.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lmms_eval_core import crd, names

Schema = dict[str, Any]
Path = tuple[str, ...]

ITEM = "[]"
ENTRY = "{}"
MOMENT = "2026-01-02T03:04:05Z"

# Where the rules ask for more than the schema: the object around a planted value, by the longest path that fits.
AROUND: dict[str, Any] = {
    "spec": {"model": "llava_hf", "tasks": ["mme"]},
    "spec.env.[]": {"name": "A", "value": ""},
    "spec.env.[].secretKeyRef": {"name": "A", "secretKeyRef": {"name": "a", "key": "a"}},
    "spec.volumes.[]": {"claimName": "a", "mountPath": "/data"},
    "spec.tolerations.[]": {"key": "a", "effect": "NoExecute"},
    "spec.gate": {"baseline": {"evaluation": "main"}, "rules": [{"maxDropPercent": 1}, {"floor": 0}]},
    "spec.gate.rules.[]": {"maxDropPercent": 1},
    "status": {"phase": "Queued", "reason": "WaitingForTurn"},
}
# Text of a length, and the n-th of several, where a plain word will not do.
TEXT: dict[str, Callable[[int], str]] = {
    "spec.volumes.[].mountPath": lambda length: ("/" + "a" * length)[:length],
    "spec.includePath": lambda length: ("/" + "a" * length)[:length],
}
WORD: dict[str, str] = {"spec.volumes.[].mountPath": "/data", "spec.includePath": "/data"}
NUMBERED: dict[str, Callable[[int], Any]] = {
    "spec.env": lambda number: {"name": f"A{number}", "value": ""},
    "spec.volumes": lambda number: {"claimName": "a", "mountPath": f"/data/{number}"},
    "status.conditions": lambda number: {
        "type": ("Complete", "Failed", "ResultsSuspect")[number % 3],
        "status": "True",
        "reason": "a",
        "lastTransitionTime": MOMENT,
    },
}
WRONG_TYPE: dict[str, Any] = {"string": 1, "integer": "a", "number": "a", "boolean": "a", "object": "a", "array": "a"}


class Bound(NamedTuple):
    """One bound: what the server says of the bad evaluation; `good` is None where there is nothing to show."""

    where: str
    keyword: str
    bad: dict[str, Any]
    good: dict[str, Any] | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}:{self.keyword}"


@functools.cache
def build_schema() -> Schema:
    """Build the schema of the whole object, once for all callers, who only read it.

    Making it takes 20 ms, and there are hundreds of bounds.
    """
    version = crd.build_crd()["spec"]["versions"][0]
    root: Schema = version["schema"]["openAPIV3Schema"]
    return root


def iterate_nodes(node: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Yield every node of a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from iterate_nodes(child, (*path, name))
    if "items" in node:
        yield from iterate_nodes(node["items"], (*path, ITEM))
    if isinstance(node.get("additionalProperties"), dict):
        yield from iterate_nodes(node["additionalProperties"], (*path, ENTRY))


def list_rules() -> Iterator[tuple[str, str]]:
    """Yield every CEL rule: the field that its refusal points at, and its sentence."""
    for path, node in iterate_nodes(build_schema()):
        for rule in node.get("x-kubernetes-validations", []):
            yield ".".join(path) + rule.get("fieldPath", ""), rule["message"]


def list_bounds(part: str) -> list[Bound]:
    """List every bound of `spec` or `status`."""
    root = build_schema()["properties"][part]
    return [bound for path, node in iterate_nodes(root, (part,)) for bound in _bounds(path, node)]


def make_sample(path: Path, node: Schema) -> Any:
    """Make the smallest value that the node allows."""
    where = ".".join(path)
    if where in AROUND:
        return copy.deepcopy(AROUND[where])
    if "enum" in node:
        return node["enum"][0]
    if node.get("x-kubernetes-int-or-string"):
        return 1
    if node.get("format") == "date-time":
        return MOMENT
    match node.get("type"):
        case "object":
            return {name: make_sample((*path, name), node["properties"][name]) for name in node.get("required", [])}
        case "array":
            return [make_sample((*path, ITEM), node["items"])] if node.get("minItems") else []
        case "string":
            return WORD.get(where, "a")
        case "boolean":
            return False
    return node.get("minimum", 0) + bool(node.get("exclusiveMinimum"))


def plant_value(path: Path, value: Any) -> dict[str, Any]:
    """Build the smallest evaluation with `value` at `path`; an Ellipsis removes what is there."""
    body = {name: copy.deepcopy(AROUND[name]) for name in {"spec", path[0]}}
    _plant(body, path, value, build_schema(), ())
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "planted"}, **body}


def _plant(holder: Any, path: Path, value: Any, node: Schema, done: Path) -> None:
    step, rest = path[0], path[1:]
    here = (*done, step)
    child = _child(node, step)
    key: Any = {ITEM: 0, ENTRY: "key"}.get(step, step)
    if not rest and value is ...:
        del holder[key]
        return
    _set(holder, key, value if not rest else _around(here, rest, child, holder, key))
    if rest:
        _plant(holder[key], rest, value, child, here)


def _around(here: Path, rest: Path, child: Schema, holder: Any, key: Any) -> Any:
    """Return what surrounds the rest of the path: the longest entry of AROUND, else what is there, else a sample."""
    special = AROUND.get(".".join((*here, rest[0])))
    if here[-1] == ITEM and special is not None:
        return copy.deepcopy(special)
    there = holder.get(key) if isinstance(holder, dict) else (holder[key] if holder else None)
    return there if there is not None else make_sample(here, child)


def _child(node: Schema, step: str) -> Schema:
    found: Schema = {ITEM: lambda: node["items"], ENTRY: lambda: node["additionalProperties"]}.get(
        step, lambda: node["properties"][step]
    )()
    return found


def _set(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, list) and not holder:
        holder.append(value)
    else:
        holder[key] = value


def _bounds(path: Path, node: Schema) -> Iterator[Bound]:
    where = ".".join(path)
    for keyword, bad, good, sentence in _values(path, where, node):
        yield Bound(where, keyword, plant_value(path, bad), None if good is None else plant_value(path, good), sentence)
    for name in node.get("required", []):
        yield Bound(f"{where}.{name}", "required", plant_value((*path, name), ...), None, "Required value")


def _values(path: Path, where: str, node: Schema) -> Iterator[tuple[str, Any, Any, str]]:
    """Keyword, a bad value, a good one, what the server says."""
    text: Callable[[int], str] = TEXT.get(where) or (
        lambda length: "a" * length if "int-or-string" not in str(node) else "1" * length
    )
    kind = node.get("type")
    if kind and "format" not in node:
        yield "type", WRONG_TYPE[kind], None, f"must be of type {kind}"
    if node.get("x-kubernetes-int-or-string"):
        yield "type", True, None, "must be of type integer,string"
    if least := node.get("minLength"):
        yield "minLength", text(least - 1), make_sample(path, node), f"should be at least {least} chars long"
    if most := node.get("maxLength"):
        yield "maxLength", text(most + 1), text(most), f"may not be more than {most} bytes"
    if "minimum" in node:
        exclusive, low = node.get("exclusiveMinimum"), node["minimum"]
        word = "greater than" if exclusive else "greater than or equal to"
        yield "minimum", low if exclusive else low - 1, low + bool(exclusive), f"should be {word} {low}"
    if "maximum" in node:
        high = node["maximum"]
        yield "maximum", high + 1, high, f"should be less than or equal to {high}"
    if "enum" in node:
        good = node["enum"][-1] if where != "status.phase" else "Running"
        yield "enum", "Odd", good, "Unsupported value"
    if node.get("format") == "date-time":
        yield "format", "yesterday", MOMENT, "must be of type date-time"
    yield from _counts(path, where, node)


def _counts(path: Path, where: str, node: Schema) -> Iterator[tuple[str, Any, Any, str]]:
    def several(count: int) -> Any:
        if node["type"] == "object":
            return {
                f"key{number}": make_sample((*path, ENTRY), node["additionalProperties"]) for number in range(count)
            }
        make: Callable[[int], Any] = NUMBERED.get(where) or (lambda number: make_sample((*path, ITEM), node["items"]))
        return [make(number) for number in range(count)]

    if "minItems" in node:
        yield "minItems", several(node["minItems"] - 1), several(node["minItems"]), "should have at least"
    if most := node.get("maxItems", node.get("maxProperties")):
        distinct = 3 if where == "status.conditions" else most
        yield "maxItems", several(most + 1), several(distinct), f"must have at most {most} items"
    if node.get("x-kubernetes-list-type") == "map":
        yield "list-type", several(1) * 2, None, "Duplicate value"
