"""From the body of POST /evaluate to the LMMEvaluation to create. Pure.

Here is what only HTTP can get wrong. The bounds of every field are the resource's own: the API server checks them, for HTTP
and kubectl alike, and `problems` translates what it says.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lmms_eval_api.problems import FieldProblem, Refused
from lmms_eval_core import names
from lmms_eval_core.evaluation import manifest
from lmms_eval_core.kube.client import Object
from lmms_eval_core.schema import Scalar
from lmms_eval_core.spec import MODEL_ARG_NAME, REMOTE_CODE_ARG, SECRET_NAME, EvaluationSpec
from lmms_eval_core.wire import EvaluateRequest

# The API server allows 256 KiB for all annotations of an object.
MAX_ANNOTATION_BYTES: Final = 64 * 1024
# Unknown fields that are named, and letters of such a name: an answer is not as long as a request may be.
MAX_NAMED: Final = 40
# What JSON and the API server carry unchanged.
MAX_INTEGER: Final = 2**63 - 1
SECRET: Final = (
    "A secret must not be sent in model_args.{key}: arguments are stored and shown. Put it into a Kubernetes Secret and create "
    "the evaluation with kubectl, its spec.env naming the variable that the adapter reads and the secretKeyRef."
)
TRUE_WORDS: Final = frozenset({"true", "1", "yes"})


class Submission(NamedTuple):
    """The object to create, and what the caller should know about fields that have no effect."""

    body: Object
    warnings: list[str]


def submission(request: EvaluateRequest, *, name: str, namespace: str) -> Submission:
    """The evaluation that was asked for. `Refused` with every reason at once."""
    found = list(_problems(request))
    if found:
        raise Refused(found)
    body = manifest(
        name=name,
        namespace=namespace,
        spec=spec_of(request),
        labels={names.LABEL_CREATED_BY: names.CREATED_BY_API},
        annotations=_annotations(request),
    )
    return Submission(body, list(_warnings(request)))


def spec_of(request: EvaluateRequest) -> EvaluationSpec:
    """The spec, with lmms-eval's own reading of zeros and empty values: they pass no flag."""
    arguments = dict(request.model_args or {})
    remote_code = str(arguments.pop(REMOTE_CODE_ARG, "")).lower() in TRUE_WORDS
    wanted: dict[str, Any] = {
        "model": request.model,
        "model_args": arguments,
        "tasks": _tasks(request),
        "num_fewshot": request.num_fewshot,
        "batch_size": request.batch_size or None,
        "limit": _limit(request.limit),
        "gen_kwargs": request.gen_kwargs or None,
        "log_samples": request.log_samples,
        "predict_only": request.predict_only,
        "include_path": request.include_path or None,
        "gpus": 0 if request.device == "cpu" else request.num_gpus,
        "priority": request.priority,
        "trust_remote_code": remote_code or None,
    }
    # The API server is the one that checks: its sentences are written for people.
    return EvaluationSpec.model_construct(**{key: value for key, value in wanted.items() if value not in (None, {})})


def _tasks(request: EvaluateRequest) -> list[str]:
    # The original joins the list with commas, so that an entry may hold several names.
    return [name for entry in request.tasks for name in map(str.strip, entry.split(",")) if name]


def _limit(limit: int | float | None) -> float | None:
    # lmms-eval: 0 passes no flag, -1 means all documents.
    return None if limit is None or limit in (0, -1) else float(limit)


def _annotations(request: EvaluateRequest) -> dict[str, str]:
    """The request as GET repeats it; left out when it is too large, and then read from the spec."""
    text = json.dumps(request.model_dump(mode="json", exclude=set(request.model_extra or {})), separators=(",", ":"))
    return {names.ANNOTATION_REQUEST: text} if len(text) <= MAX_ANNOTATION_BYTES else {}


def _problems(request: EvaluateRequest) -> Iterator[FieldProblem]:
    if not _tasks(request):
        yield FieldProblem(("tasks",), "Name at least one task, group or tag of lmms-eval.")
    if request.num_gpus < 0:
        yield FieldProblem(("num_gpus",), "num_gpus is the number of GPUs of the pod: 0 for none, or more.")
    if request.limit is not None and not math.isfinite(request.limit):
        yield FieldProblem(("limit",), "limit must be a finite number; leave it out to evaluate everything.")
    yield from _unspeakable(request)
    for key, value in (request.model_args or {}).items():
        sentence = _argument_problem(key, value)
        if sentence:
            yield FieldProblem(("model_args", key), sentence)


def _unspeakable(request: EvaluateRequest) -> Iterator[FieldProblem]:
    texts = {"model": request.model, "tasks": "".join(request.tasks), "gen_kwargs": request.gen_kwargs or ""}
    texts |= {"batch_size": str(request.batch_size), "device": request.device or "", "output_dir": request.output_dir or ""}
    for field, text in (texts | {"include_path": request.include_path or ""}).items():
        if not _speakable(text):
            yield FieldProblem((field,), f"{field} holds a character that no command line can carry; remove it.")


def _speakable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _argument_problem(key: str, value: Any) -> str | None:
    """What is wrong with one entry of model_args, as a sentence."""
    if not re.fullmatch(MODEL_ARG_NAME, key):
        return "A name in model_args is made of letters, digits and underscores, at most 128, and starts with no digit."
    if re.search(SECRET_NAME, key):
        return SECRET.format(key=key)
    if value is None:
        return f"model_args.{key} is null: leave it out."
    if not isinstance(value, Scalar):
        return (
            f"model_args.{key} must be text, a number, true or false: lmms-eval's command line carries no lists and no objects."
        )
    return _scalar_problem(key, value)


def _scalar_problem(key: str, value: Scalar) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"model_args.{key} must be a finite number."
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return f"model_args.{key} is too large a number to be kept unchanged: send it as text."
    if isinstance(value, str) and not _speakable(value):
        return f"model_args.{key} holds a character that no command line can carry; remove it."
    return None


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
