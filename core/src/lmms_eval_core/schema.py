"""Building blocks of the resource models: the base class, scalar types with their bounds, CEL rules, owners of status
fields.

`crd` turns them into the structural schema; `evaluation` is written with them.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

Scalar = str | bool | int | float


class ResourceModel(BaseModel):
    """Base of everything inside an LMMEvaluation: camelCase on the wire, unknown fields of newer versions ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", use_enum_values=False)

    def to_wire(self) -> dict[str, Any]:
        """Return what the API server stores: camelCase, absent instead of null, JSON types."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Owner(StrEnum):
    """Who may write a status field."""

    OPERATOR = "operator"
    REPORTER = "reporter"


def cel(rule: str, message: str, *, naming: str = "", field_path: str | None = None) -> dict[str, str]:
    """Return one `x-kubernetes-validations` entry; `message` is the sentence the user reads at `kubectl apply`.

    `naming` is a CEL expression of the text that it was about, which is put before the sentence.
    """
    entry = {"rule": rule, "message": message}
    entry |= {"messageExpression": f"{naming} + ': {message}'"} if naming else {}
    return entry | {"fieldPath": field_path} if field_path else entry


def validations(*rules: dict[str, str], **extra: Any) -> dict[str, Any]:
    """Return `json_schema_extra` that carries CEL rules into the schema."""
    return {"x-kubernetes-validations": list(rules), **extra}


def text(pattern: str, message: str, *rules: dict[str, str], max_length: int, min_length: int = 1) -> Any:
    """Return a text field with a pattern and further `rules`; a person reads `message` instead of the pattern."""
    return Field(
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        json_schema_extra=validations(cel(matches(pattern), message), *rules),
    )


def absolute_path(*rules: dict[str, str]) -> Any:
    """Return a field for a path in a container, with further `rules`."""
    sentence = "give an absolute path without ':' and without '/' at its end"
    return text(r"^(/[^/:\x00-\x1f]+)+$", sentence, *rules, max_length=1024)


def by_key(field: str) -> Any:
    """Return a list field whose entries differ in `field`: one given twice is refused, and their order
    has no meaning.
    """
    return Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]})


def matches(pattern: str, value: str = "self") -> str:
    """Return the CEL expression that `value` matches `pattern`, which is RE2: no look-around, no quote."""
    return f"{value}.matches(r'{pattern}')"


def int_or_string(pattern: str, message: str, *, max_length: int, minimum: int = 0) -> WithJsonSchema:
    """Return the schema of a number or a text; the pattern holds for text, `minimum` for a number."""
    rule = cel(f"type(self) == int ? self >= {minimum} : {matches(pattern)}", message)
    return WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": max_length, **validations(rule)})


Quantity = Annotated[
    str | int,
    int_or_string(
        r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$", "give a quantity, for example 4, 500m or 16Gi", max_length=32
    ),
]

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
ObjectName = Annotated[
    str,
    text(
        DNS_SUBDOMAIN,
        "give the name of a Kubernetes object: lower-case letters, digits, dashes and dots",
        max_length=253,
    ),
]
AbsolutePath = Annotated[str, absolute_path()]


def _to_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def format_rfc3339(moment: datetime) -> str:
    """Format a moment as Kubernetes writes it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: object) -> datetime | None:
    """Parse a moment as the API server holds it; None if Python has no such moment.

    The schema's date-time takes more than that: year 0, offsets of 99 hours.
    """
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


Timestamp = Annotated[
    datetime,
    AfterValidator(_to_utc),
    PlainSerializer(format_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
