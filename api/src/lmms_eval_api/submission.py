"""From the body of POST /evaluate to the LMMEvaluation to create. Pure.

Here is what only HTTP can get wrong. The bounds of every field are the resource's own: the API server checks them, for HTTP
and kubectl alike, and `problems` translates what it says.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from lmms_eval_api.identity import Identity, Sender, identity
from lmms_eval_api.problems import FieldProblem, Refused
from lmms_eval_core import names, spec, wire
from lmms_eval_core.evaluation import build_manifest
from lmms_eval_core.kube.client import Object
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
# Unknown fields that are named, and letters of such a name: an answer is not as long as a request may be.
MAX_NAMED: Final = 40
# What JSON and the API server carry unchanged.
MAX_INTEGER: Final = 2**63 - 1
INSTEAD: Final = (
    "arguments are stored and shown. Put it into a Kubernetes Secret, and name in env the variable that the adapter reads, with "
    "a secret_key_ref to that Secret."
)
SECRET: Final = f"A secret must not be sent in {{place}}: {INSTEAD}"
LOGIN: Final = f"An address with a login must not be sent in {{place}}: {INSTEAD}"
# Of the parts of a label, by Kubernetes.
MAX_LABEL: Final = 63
MAX_LABEL_PREFIX: Final = 253
MAX_LABEL_KEY: Final = MAX_LABEL_PREFIX + 1 + MAX_LABEL
LABEL_FORM: Final = f"give at most {MAX_LABEL} letters, digits, dashes, dots and underscores, with a letter or digit at both ends"
# Domains whose labels mean something to Kubernetes, or to us.
RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io", names.GROUP)
# The resource's twin of each part of a request.
TWINS: Final[dict[type[wire.RequestPart], type[ResourceModel]]] = {
    wire.EnvVar: spec.EnvVar,
    wire.Resources: spec.Resources,
    wire.SecretKeyRef: spec.SecretKeyRef,
    wire.Toleration: spec.Toleration,
    wire.Volume: spec.Volume,
}
TRUE_WORDS: Final = frozenset({"true", "1", "yes"})
# Fields that request and resource have under one name.
ALIKE: Final = [name for name in EvaluateRequest.model_fields if name in EvaluationSpec.model_fields]


class Submission(NamedTuple):
    """The object to create, who made it, and what the caller should know about fields that have no effect."""

    body: Object
    identity: Identity
    warnings: list[str]


def submission(request: EvaluateRequest, *, sender: Sender, namespace: str) -> Submission:
    """The evaluation that was asked for. `Refused` with every reason at once."""
    found = list(_problems(request))
    if found:
        raise Refused(found)
    own = identity(request, sender)
    body = build_manifest(
        name=own.name,
        namespace=namespace,
        spec=spec_of(request),
        labels=(request.labels or {}) | {names.LABEL_CREATED_BY: names.CREATED_BY_API},
        annotations=_annotations(request) | {names.ANNOTATION_SUBMISSION: own.mark},
    )
    return Submission(body, own, list(_warnings(request)))


def spec_of(request: EvaluateRequest) -> EvaluationSpec:
    """The spec, with lmms-eval's own reading of zeros and empty values: they pass no flag."""
    arguments = dict(request.model_args or {})
    remote_code = str(arguments.pop(REMOTE_CODE_ARG, "")).lower() in TRUE_WORDS
    alike = {name: _twin(getattr(request, name)) for name in ALIKE}
    wanted: dict[str, Any] = alike | {
        "model_args": arguments,
        "tasks": _tasks(request),
        "batch_size": request.batch_size or None,
        "limit": _limit(request.limit),
        "gen_kwargs": request.gen_kwargs or None,
        "include_path": request.include_path or None,
        "gpus": 0 if request.device == "cpu" else request.num_gpus,
        "hold": request.hold or None,
        "trust_remote_code": remote_code or request.trust_remote_code or None,
    }
    # The API server is the one that checks: its sentences are written for people.
    return EvaluationSpec.model_construct(**{key: value for key, value in wanted.items() if value not in (None, {})})


def _twin(value: Any) -> Any:
    """What a request holds, as the resource holds it."""
    if isinstance(value, wire.RequestPart):
        return TWINS[type(value)].model_construct(**{name: _twin(part) for name, part in value if part is not None})
    return [_twin(part) for part in value] if isinstance(value, list) else value


def _tasks(request: EvaluateRequest) -> list[str]:
    # The original joins the list with commas, so that an entry may hold several names.
    return [name for entry in request.tasks for name in map(str.strip, entry.split(",")) if name]


def _limit(limit: int | float | None) -> float | None:
    # lmms-eval: 0 passes no flag, -1 means all documents.
    return None if limit is None or limit in (0, -1) else float(limit)


def _annotations(request: EvaluateRequest) -> dict[str, str]:
    """The request as GET repeats it; left out when it is too large, and then read from the spec."""
    sent = request.model_dump(mode="json", exclude=set(request.model_extra or {}), exclude_none=True)
    text = json.dumps(sent, separators=(",", ":"))
    return {names.ANNOTATION_REQUEST: text} if len(text) <= MAX_ANNOTATION_BYTES else {}


def _problems(request: EvaluateRequest) -> Iterator[FieldProblem]:
    if not _tasks(request):
        yield FieldProblem(("tasks",), "Name at least one task, group or tag of lmms-eval.")
    if request.num_gpus < 0:
        yield FieldProblem(("num_gpus",), "num_gpus is the number of GPUs of the pod: 0 for none, or more.")
    if isinstance(request.limit, float) and not math.isfinite(request.limit):
        yield FieldProblem(("limit",), "limit must be a finite number; leave it out to evaluate everything.")
    yield from oversized(request, leaving={"model_args"})
    yield from _unspeakable(request)
    if sentence := _secret_problem("gen_kwargs", request.gen_kwargs or "", named=SECRET_IN_LIST):
        yield FieldProblem(("gen_kwargs",), sentence)
    for key, value in (request.labels or {}).items():
        if sentence := _label_problem(key, value):
            yield FieldProblem(("labels", key), f"The label {key[:MAX_LABEL_KEY]!r} {sentence}")
    for key, value in (request.model_args or {}).items():
        if sentence := _argument_problem(key, value):
            yield FieldProblem(("model_args", key), sentence)


def _label_problem(key: str, value: str) -> str:
    """What is wrong with a label, as the end of a sentence: the API server would name the text, and not where it stands."""
    prefix, slash, name = key.rpartition("/")
    if _reserved(key):
        return "belongs to Kubernetes or to lmms-eval itself; use a key of your own."
    if slash and not (len(prefix) <= MAX_LABEL_PREFIX and re.fullmatch(DNS_SUBDOMAIN, prefix)):
        return "has no possible prefix: give a domain before the slash, in small letters, for example example.com/team."
    if not name or not _is_label(name):
        return f"is no possible key: {LABEL_FORM}, one at least."
    return "" if _is_label(value) else f"has no possible value: {LABEL_FORM}."


def _is_label(text: str) -> bool:
    return len(text) <= MAX_LABEL and re.fullmatch(LABEL_VALUE, text) is not None


def _reserved(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    return any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_DOMAINS)


def oversized(body: BaseModel, *, leaving: Collection[str] = ()) -> Iterator[FieldProblem]:
    """Fields, but for those `leaving`, with a number that neither JSON nor the API server carries unchanged."""
    for name in type(body).model_fields.keys() - set(leaving):
        if any(abs(number) > MAX_INTEGER for number in _parts(getattr(body, name)) if isinstance(number, int)):
            yield FieldProblem((name,), f"{name} holds a number of more than 18 digits; give a smaller one.")


def _unspeakable(request: EvaluateRequest) -> Iterator[FieldProblem]:
    for name in EvaluateRequest.model_fields.keys() - {"model_args"}:
        if not all(_speakable(text) for text in _parts(getattr(request, name)) if isinstance(text, str)):
            yield FieldProblem((name,), f"{name} holds a character that no command line can carry; remove it.")


def _parts(value: Any) -> Iterator[Scalar]:
    """All scalars in a field, the keys of maps too."""
    if isinstance(value, Scalar):
        yield value
    elif isinstance(value, wire.RequestPart):
        yield from _parts(dict(value))
    elif isinstance(value, list | dict):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _parts(part)


def _speakable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _argument_problem(key: str, value: Any) -> str | None:
    """What is wrong with one entry of model_args, as a sentence."""
    if not re.fullmatch(MODEL_ARG_NAME, key):
        return "A name in model_args is made of letters, digits and underscores, at most 128, and starts with no digit."
    if re.search(SECRET_NAME, key):
        return SECRET.format(place=f"model_args.{key}")
    if value is None:
        return f"model_args.{key} is null: leave it out."
    if not isinstance(value, Scalar):
        kind, text = ("a list", "[1, 2]") if isinstance(value, list) else ("an object", '{"a": 1}')
        return f"model_args.{key} is {kind}, and arguments of a model are scalars: send it as JSON text, as {json.dumps(text)}."
    return _scalar_problem(key, value)


def _scalar_problem(key: str, value: Scalar) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"model_args.{key} must be a finite number."
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"model_args.{key} is too large a number to be kept unchanged: send it as text."
    if isinstance(value, str) and not _speakable(value):
        return f"model_args.{key} holds a character that no command line can carry; remove it."
    return _secret_problem(f"model_args.{key}", value) if isinstance(value, str) else None


def _secret_problem(place: str, text: str, *, named: str = "") -> str | None:
    if named and re.search(named, text):
        return SECRET.format(place=place)
    return LOGIN.format(place=place) if re.search(URL_LOGIN, text) else None


def _warnings(request: EvaluateRequest) -> Iterator[str]:
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
