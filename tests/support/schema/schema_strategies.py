"""hypothesis strategies for any spec and any status that the schema of the CRD accepts, CEL rules aside."""

from typing import Any

from crd_samples import Schema, build_schema
from hypothesis import strategies as st

LARGEST = 2**63 - 1
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-LARGEST, LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["9" * 4096, "0" * 4096, "\u0665\u0663", "1e999", "-1", "'", '{"a": [', "x" * 4096]),
)
SIZES = ["tensor_parallel_size", "tp_size", "data_parallel_size", "dp_size"]
MODEL_ARGS = st.dictionaries(st.sampled_from([*SIZES, "device_map", "parallelize", "a"]), SCALARS)
# The schema's date-time is not checked any closer than this.
MOMENTS = st.sampled_from(
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123456789+02:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01t00:00:00z",
    ]
)
ODD_TEXTS = ["\x1b[31mred\x1b[0m", "\u202egnirts", "a\nb\tc", "\u200b", "é" * 300, "%s {} $(A)"]


def evaluations(part: str) -> st.SearchStrategy[dict[str, Any]]:
    """A strategy for any `spec` or any `status`."""
    return _values(build_schema()["properties"][part], (part,))


def _values(node: Schema, path: tuple[str, ...]) -> st.SearchStrategy[Any]:
    if path == ("spec", "modelArgs"):
        return MODEL_ARGS
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("x-kubernetes-int-or-string"):
        return st.integers(0, LARGEST) | _texts(node)
    if node.get("format") == "date-time":
        return MOMENTS
    match node.get("type"):
        case "object":
            return _objects(node, path)
        case "array":
            return st.lists(_values(node["items"], (*path, "[]")), min_size=node.get("minItems", 0), max_size=2)
        case "string":
            return _texts(node)
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(node.get("minimum", -LARGEST), node.get("maximum", LARGEST))
    return st.floats(node.get("minimum"), node.get("maximum"), allow_nan=False, allow_infinity=False)


def _objects(node: Schema, path: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
    if isinstance(node.get("additionalProperties"), dict):
        return st.dictionaries(
            _texts({"maxLength": 8}), _values(node["additionalProperties"], (*path, "{}")), max_size=2
        )
    fields = {name: _values(child, (*path, name)) for name, child in node.get("properties", {}).items()}
    required = set(node.get("required", ()))
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in required},
        optional={name: fields[name] for name in fields if name not in required},
    )


def _texts(node: Schema) -> st.SearchStrategy[str]:
    least, most = node.get("minLength", 0), node.get("maxLength", 20_000)
    odd = [text for text in (*ODD_TEXTS, "x" * most) if least <= len(text) <= most]
    return st.text(min_size=least, max_size=min(most, 12)) | st.sampled_from(odd)
