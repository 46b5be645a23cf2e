"""LMMEvaluations as the API server sends them, for tests of the front end."""

import itertools
from typing import Any

from lmms_eval_core import names
from lmms_eval_core.kube.client import Object

_versions = itertools.count(1)


def build_evaluation_object(
    name: str = "a",
    *,
    phase: str = "Queued",
    version: int = 0,
    uid: str = "",
    created_at: str = "2026-01-01T00:00:00Z",
    annotations: dict[str, str] | None = None,
    status: Object | None = None,
    **spec: Any,
) -> Object:
    """Build one object; each call makes a newer version, unless one is given."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": name,
            "namespace": "team",
            "uid": uid or f"uid-of-{name}",
            "resourceVersion": str(version or next(_versions)),
            "creationTimestamp": created_at,
            "annotations": annotations or {},
            "managedFields": [{"manager": "somebody"}],
        },
        "spec": {"model": "llava_hf", "tasks": ["mme"], **spec},
        "status": {"phase": phase, "reason": "WaitingForTurn", **(status or {})},
    }
