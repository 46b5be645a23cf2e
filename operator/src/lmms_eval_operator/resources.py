"""Requests and limits of the evaluator container, and sizes of the pod's own volumes: the spec's word, else the
release's. Pure.

    of                                    request                              limit
    what spec or release give             as given                             the same, but for cpu
    memory, disk that nobody gives        evaluator.requests of the chart      evaluator.limits of the chart
    cpu                                   as given, or evaluator.requests      evaluator.limits, where that has one

A limit of the chart is raised where somebody asks for more.
"""

from decimal import Decimal
from typing import Final

from lmms_eval_core.kube.client import Object
from lmms_eval_core.spec import EvaluationSpec, Resources
from lmms_eval_operator.settings import Settings

# Beyond them the run is ended, and not its neighbours. CPU is not among them: idle cores help.
_BOUNDED: Final = frozenset({"memory", "ephemeral_storage"})
_NAMES: Final = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage"}
_FACTORS: Final = {
    **{"m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12)},
    **{"Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40)},
}


def build_container_resources(spec: EvaluationSpec, settings: Settings, *, gpus: int) -> Object:
    """Return requests and limits of the evaluator."""
    wanted = _merge_resources(spec, settings)
    requests: Object = {}
    limits: Object = {}
    for field, name in _NAMES.items():
        given = getattr(wanted, field)
        request = getattr(settings.default_requests, field) if given is None else given
        bound = given if field in _BOUNDED else None
        limit = _raise_limit(getattr(settings.default_limits, field), request) if bound is None else bound
        requests |= {} if request is None else {name: str(request)}
        limits |= {} if limit is None else {name: str(limit)}
    devices = {settings.gpu_resource: str(gpus)} if gpus else {}
    return {"requests": requests | devices, "limits": limits | devices}


def build_shared_memory_volume(spec: EvaluationSpec, settings: Settings) -> Object:
    """Return the volume at /dev/shm."""
    return {"medium": "Memory", **_build_size_limit(_merge_resources(spec, settings).shared_memory)}


def build_own_volume(name: str, spec: EvaluationSpec, settings: Settings) -> Object:
    """Return a volume on the node's disk that goes with the pod, as large as the disk that is asked for."""
    given = _merge_resources(spec, settings).ephemeral_storage
    return _build_size_limit(settings.volume_sizes.get(name) if given is None else given)


def _merge_resources(spec: EvaluationSpec, settings: Settings) -> Resources:
    given = spec.resources.model_dump(exclude_none=True) if spec.resources else {}
    return settings.default_resources.model_copy(update=given)


def _build_size_limit(limit: str | int | None) -> Object:
    return {} if limit is None else {"sizeLimit": str(limit)}


def _raise_limit(limit: str | int | None, request: str | int | None) -> str | int | None:
    if limit is None or request is None:
        return limit
    return max(limit, request, key=_parse_quantity)


def _parse_quantity(quantity: str | int) -> Decimal:
    """Return a quantity as a number; the schema bounds what it looks like."""
    number = str(quantity).rstrip("mkKMGTi")
    return Decimal(number) * _FACTORS.get(str(quantity).removeprefix(number), Decimal(1))
