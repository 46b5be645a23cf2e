"""Building blocks of the resource models: the base class, scalar types with their bounds, CEL rules, owners of status fields.

`crd` turns them into the structural schema; `evaluation` is written with them.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

Scalar = str | bool | int | float


class Resource(BaseModel):
    """Base of everything inside an LMMEvaluation: camelCase on the wire, unknown fields of newer versions ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", use_enum_values=False)

    def to_wire(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, absent instead of null, JSON types."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Owner(StrEnum):
    """Who may write a status field."""

    OPERATOR = "operator"
    REPORTER = "reporter"


def cel(rule: str, message: str, *, field_path: str | None = None) -> dict[str, str]:
    """One `x-kubernetes-validations` entry; `message` is the sentence the user reads at `kubectl apply`."""
    entry = {"rule": rule, "message": message}
    return entry | {"fieldPath": field_path} if field_path else entry


def validations(*rules: dict[str, str], **extra: Any) -> dict[str, Any]:
    """`json_schema_extra` that carries CEL rules into the schema."""
    return {"x-kubernetes-validations": list(rules), **extra}


INT_OR_STRING = {"x-kubernetes-int-or-string": True}


def int_or_string(pattern: str, max_length: int) -> WithJsonSchema:
    """A field that YAML may write as a number or as text; the pattern holds for text."""
    return WithJsonSchema({**INT_OR_STRING, "pattern": pattern, "maxLength": max_length})


QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
Quantity = Annotated[str | int, int_or_string(QUANTITY_PATTERN, 32)]

DNS_LABEL = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
AbsolutePath = Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^/[^\x00-\x1f:]*$")]


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """A moment as Kubernetes writes it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


Timestamp = Annotated[
    datetime,
    AfterValidator(_utc),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
