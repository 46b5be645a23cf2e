"""The LMMEvaluation: metadata as the parts need it, `spec` and `status`. Parsed from what the API server sends."""

from typing import Any

from pydantic import Field

from lmms_eval_core import names
from lmms_eval_core.schema import ResourceModel, Timestamp
from lmms_eval_core.spec import EvaluationSpec
from lmms_eval_core.status import EvaluationStatus


class Metadata(ResourceModel):
    """The part of metadata that we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class LMMEvaluation(ResourceModel):
    """One evaluation."""

    metadata: Metadata
    spec: EvaluationSpec
    status: EvaluationStatus = Field(default_factory=EvaluationStatus)

    @classmethod
    def parse(cls, wire: dict[str, Any]) -> "LMMEvaluation":
        """Parse the JSON of the API server; pydantic.ValidationError where the schema was older than the code."""
        return cls.model_validate(wire)


def build_manifest(
    *, name: str, namespace: str, spec: EvaluationSpec, labels: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    """Return the object to create."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
    }
