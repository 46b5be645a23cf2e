"""From the body of POST /evaluate to the LMMEvaluation to create. Pure.

This checks what only HTTP can get wrong. The bounds of every field are the resource's own: the API server checks them,
for HTTP and kubectl alike, and `problems` translates its sentences.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from lmms_eval_api.jobs.identity import Identity, Sender, identify
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_core import names, spec, wire
from lmms_eval_core.evaluation import build_manifest
from lmms_eval_core.kube.client import Object
from lmms_eval_core.quality_gate import policy
from lmms_eval_core.schema import DNS_SUBDOMAIN, ResourceModel, Scalar
from lmms_eval_core.spec import (
    LABEL_VALUE,
    MODEL_ARG_NAME,
    REMOTE_CODE_ARG,
    SECRET_IN_LIST,
    SECRET_NAME,
    URL_LOGIN,
    EvaluationSpec,
)
from lmms_eval_core.wire import EvaluateRequest

# The API server allows 256 KiB for all annotations of an object.
MAX_ANNOTATION_BYTES: Final = 64 * 1024
# Unknown fields that are named, and letters of such a name: the response must not grow with the request.
MAX_NAMED: Final = 40
# The largest integer that JSON and the API server carry unchanged.
MAX_INTEGER: Final = 2**63 - 1
SECRET_ADVICE: Final = (
    "arguments are stored and shown. Put it into a Kubernetes Secret, and name in env the variable that the "
    "adapter reads, "
    "with a secret_key_ref to that Secret."
)
SECRET_SENT: Final = f"A secret must not be sent in {{place}}: {SECRET_ADVICE}"
LOGIN_SENT: Final = f"An address with a login must not be sent in {{place}}: {SECRET_ADVICE}"
# Lengths of a label's parts, as Kubernetes defines them.
MAX_LABEL: Final = 63
MAX_LABEL_PREFIX: Final = 253
MAX_LABEL_KEY: Final = MAX_LABEL_PREFIX + 1 + MAX_LABEL
LABEL_FORM: Final = (
    f"give at most {MAX_LABEL} letters, digits, dashes, dots and underscores, with a letter or digit at both ends"
)
# Domains whose labels have a meaning for Kubernetes, or for us.
RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io", names.GROUP)
# The resource's model of each part of a request.
RESOURCE_MODELS: Final[dict[type[wire.RequestPart], type[ResourceModel]]] = {
    wire.EnvVar: spec.EnvVar,
    wire.Gate: policy.QualityGate,
    wire.GateBaseline: policy.GateBaseline,
    wire.GateRule: policy.GateRule,
    wire.Resources: spec.Resources,
    wire.SecretKeyRef: spec.SecretKeyRef,
    wire.Toleration: spec.Toleration,
    wire.Volume: spec.Volume,
}
TRUE_WORDS: Final = frozenset({"true", "1", "yes"})
# Fields that request and resource have under one name.
SHARED_FIELDS: Final = [name for name in EvaluateRequest.model_fields if name in EvaluationSpec.model_fields]


class PreparedSubmission(NamedTuple):
    """The object to create, its identity, and warnings about fields that have no effect."""

    body: Object
    identity: Identity
    warnings: list[str]


def prepare_submission(request: EvaluateRequest, *, sender: Sender, namespace: str) -> PreparedSubmission:
    """Return what to create for a request. Raises InvalidRequest with all problems at once."""
    found = list(_find_problems(request))
    if found:
        raise InvalidRequest(found)
    own = identify(request, sender)
    body = build_manifest(
        name=own.name,
        namespace=namespace,
        spec=make_spec(request),
        labels=(request.labels or {}) | {names.LABEL_CREATED_BY: names.CREATED_BY_API},
        annotations=_make_annotations(request) | {names.ANNOTATION_SUBMISSION: own.mark},
    )
    return PreparedSubmission(body, own, list(_list_warnings(request)))


def make_spec(request: EvaluateRequest) -> EvaluationSpec:
    """Return the spec. Zeros and empty values pass no flag, as lmms-eval reads them."""
    arguments = dict(request.model_args or {})
    remote_code = str(arguments.pop(REMOTE_CODE_ARG, "")).lower() in TRUE_WORDS
    alike = {name: _to_resource(getattr(request, name)) for name in SHARED_FIELDS}
    wanted: dict[str, Any] = alike | {
        "model_args": arguments,
        "tasks": _split_tasks(request),
        "batch_size": request.batch_size or None,
        "limit": _read_limit(request.limit),
        "gen_kwargs": request.gen_kwargs or None,
        "include_path": request.include_path or None,
        "gpus": 0 if request.device == "cpu" else request.num_gpus,
        "hold": request.hold or None,
        "keep": request.keep or None,
        "trust_remote_code": remote_code or request.trust_remote_code or None,
    }
    # Not validated here: the API server does, with sentences that are written for people.
    return EvaluationSpec.model_construct(**{key: value for key, value in wanted.items() if value not in (None, {})})


def _to_resource(value: Any) -> Any:
    """Return a part of a request as the resource has it."""
    if isinstance(value, wire.RequestPart):
        return RESOURCE_MODELS[type(value)].model_construct(
            **{name: _to_resource(part) for name, part in value if part is not None}
        )
    return [_to_resource(part) for part in value] if isinstance(value, list) else value


def _split_tasks(request: EvaluateRequest) -> list[str]:
    # The original joins the list with commas, so that an entry may hold several names.
    return [name for entry in request.tasks for name in map(str.strip, entry.split(",")) if name]


def _read_limit(limit: int | float | None) -> float | None:
    # lmms-eval: 0 passes no flag, -1 means all documents.
    return None if limit is None or limit in (0, -1) else float(limit)


def _make_annotations(request: EvaluateRequest) -> dict[str, str]:
    """Return the request for GET to repeat; none if it is too large, and GET then reads the spec."""
    sent = request.model_dump(mode="json", exclude=set(request.model_extra or {}), exclude_none=True)
    text = json.dumps(sent, separators=(",", ":"))
    return {names.ANNOTATION_REQUEST: text} if len(text) <= MAX_ANNOTATION_BYTES else {}


def _find_problems(request: EvaluateRequest) -> Iterator[FieldProblem]:
    if not _split_tasks(request):
        yield FieldProblem(("tasks",), "Name at least one task, group or tag of lmms-eval.")
    if request.num_gpus < 0:
        yield FieldProblem(("num_gpus",), "num_gpus is the number of GPUs of the pod: 0 for none, or more.")
    if isinstance(request.limit, float) and not math.isfinite(request.limit):
        yield FieldProblem(("limit",), "limit must be a finite number; leave it out to evaluate everything.")
    yield from find_oversized(request, exclude={"model_args"})
    yield from _find_uncarriable(request)
    if sentence := _find_secret_problem("gen_kwargs", request.gen_kwargs or "", named=SECRET_IN_LIST):
        yield FieldProblem(("gen_kwargs",), sentence)
    for key, value in (request.labels or {}).items():
        if sentence := _find_label_problem(key, value):
            yield FieldProblem(("labels", key), f"The label {key[:MAX_LABEL_KEY]!r} {sentence}")
    for key, value in (request.model_args or {}).items():
        if sentence := _find_argument_problem(key, value):
            yield FieldProblem(("model_args", key), sentence)


def _find_label_problem(key: str, value: str) -> str:
    """Return what is wrong with a label, as the end of a sentence. The API server would not say where the label is."""
    prefix, slash, name = key.rpartition("/")
    if _is_reserved(key):
        return "belongs to Kubernetes or to lmms-eval itself; use a key of your own."
    if slash and not (len(prefix) <= MAX_LABEL_PREFIX and re.fullmatch(DNS_SUBDOMAIN, prefix)):
        return "has no possible prefix: give a domain before the slash, in small letters, for example example.com/team."
    if not name or not _is_label_text(name):
        return f"is no possible key: {LABEL_FORM}, one at least."
    return "" if _is_label_text(value) else f"has no possible value: {LABEL_FORM}."


def _is_label_text(text: str) -> bool:
    return len(text) <= MAX_LABEL and re.fullmatch(LABEL_VALUE, text) is not None


def _is_reserved(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    return any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_DOMAINS)


def find_oversized(body: BaseModel, *, exclude: Collection[str] = ()) -> Iterator[FieldProblem]:
    """Yield the fields, but for those in `exclude`, with a number that JSON or the API server would change."""
    for name in type(body).model_fields.keys() - set(exclude):
        scalars = _iterate_scalars(getattr(body, name))
        if any(abs(number) > MAX_INTEGER for number in scalars if isinstance(number, int)):
            yield FieldProblem((name,), f"{name} holds a number of more than 18 digits; give a smaller one.")


def _find_uncarriable(request: EvaluateRequest) -> Iterator[FieldProblem]:
    for name in EvaluateRequest.model_fields.keys() - {"model_args"}:
        if not all(_is_carriable(text) for text in _iterate_scalars(getattr(request, name)) if isinstance(text, str)):
            yield FieldProblem((name,), f"{name} holds a character that no command line can carry; remove it.")


def _iterate_scalars(value: Any) -> Iterator[Scalar]:
    """Yield all scalars in a field, the keys of maps too."""
    if isinstance(value, Scalar):
        yield value
    elif isinstance(value, wire.RequestPart):
        yield from _iterate_scalars(dict(value))
    elif isinstance(value, list | dict):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _iterate_scalars(part)


def _is_carriable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _find_argument_problem(key: str, value: Any) -> str | None:
    """Return what is wrong with one entry of model_args, as a sentence."""
    if not re.fullmatch(MODEL_ARG_NAME, key):
        return "A name in model_args is made of letters, digits and underscores, at most 128, and starts with no digit."
    if re.search(SECRET_NAME, key):
        return SECRET_SENT.format(place=f"model_args.{key}")
    if value is None:
        return f"model_args.{key} is null: leave it out."
    if not isinstance(value, Scalar):
        kind, text = ("a list", "[1, 2]") if isinstance(value, list) else ("an object", '{"a": 1}')
        example = json.dumps(text)
        return f"model_args.{key} is {kind}, and arguments of a model are scalars: send it as JSON text, as {example}."
    return _find_scalar_problem(key, value)


def _find_scalar_problem(key: str, value: Scalar) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"model_args.{key} must be a finite number."
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"model_args.{key} is too large a number to be kept unchanged: send it as text."
    if isinstance(value, str) and not _is_carriable(value):
        return f"model_args.{key} holds a character that no command line can carry; remove it."
    return _find_secret_problem(f"model_args.{key}", value) if isinstance(value, str) else None


def _find_secret_problem(place: str, text: str, *, named: str = "") -> str | None:
    if named and re.search(named, text):
        return SECRET_SENT.format(place=place)
    return LOGIN_SENT.format(place=place) if re.search(URL_LOGIN, text) else None


def _list_warnings(request: EvaluateRequest) -> Iterator[str]:
    unknown = sorted(request.model_extra or {})
    for field in unknown[:MAX_NAMED]:
        yield f"Unknown field {field[:MAX_NAMED]!r} has no effect."
    if len(unknown) > MAX_NAMED:
        yield f"{len(unknown) - MAX_NAMED} more unknown fields have no effect."
    if request.output_dir:
        yield "output_dir has no effect: results are kept in the object store of this installation."
    if request.device == "cpu" and request.num_gpus and "num_gpus" in request.model_fields_set:
        yield "num_gpus has no effect with device 'cpu'."
    elif request.device and request.device != "cpu":
        yield "device has no effect: the evaluation gets GPUs of its own; 'cpu' or num_gpus 0 asks for none."
