"""Every error response: `detail` as lmms-eval's own server says it, inside problem details (RFC 9457).

`detail` is a string, or for an invalid body the list of FastAPI, which clients of the original expect; `errors` says
the same with JSON pointers. Routes raise `fastapi.HTTPException` or `InvalidRequest`, and let errors of the API server
through.
"""

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic.alias_generators import to_camel, to_snake
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.types import Scope

from lmms_eval_core import spec
from lmms_eval_core.kube import errors

RETRY_SECONDS: Final = 5
# The API server writes `Invalid value: "string": sentence`; the value may be long, or private.
REJECTED_VALUE: Final = re.compile(
    r'^(?:Invalid|Unsupported|Duplicate) value: (?:"(?:[^"\\]|\\.)*"|[^\s:]+): ',
    re.DOTALL,
)
RESOURCE_FIELD: Final = re.compile(r"^spec\.\S+ in body (?=should |must )")
DENIED_BY_POLICY: Final = re.compile(r"denied request: (?P<sentence>.+)$", re.DOTALL)
# Fields whose name in a request is not the resource's name in snake case.
WIRE_NAMES: Final = {"gpus": "num_gpus"}
# Maps whose keys the caller chooses: they are no field names.
CALLER_MAPS: Final = frozenset({"model_args", "node_selector"})
# The parts of `metadata` that a request can set.
SETTABLE_METADATA: Final = frozenset({"name", "labels"})
# Fields of the resource that its sentences name in camel case.
RESOURCES: Final = (spec.EvaluationSpec, spec.EnvVar, spec.Resources, spec.SecretKeyRef, spec.Toleration, spec.Volume)
CAMEL_CASE: Final = re.compile(
    rf"\b(?:{'|'.join({to_camel(name) for kind in RESOURCES for name in kind.model_fields if '_' in name})})\b"
)


class FieldProblem(NamedTuple):
    """What is wrong with one field: its path in the body or in `where`, a word for programs, a sentence for people."""

    path: tuple[str | int, ...]
    message: str
    type: str = "value_error"
    where: str = "body"


class InvalidRequest(Exception):
    """The request was understood and cannot be accepted: 422."""

    def __init__(self, fields: Iterable[FieldProblem]) -> None:
        self.fields = list(fields)
        super().__init__("; ".join(field.message for field in self.fields))


class ProblemResponse(JSONResponse):
    """JSON with the media type of RFC 9457."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """Encode as ASCII: a name that was sent may hold a lone surrogate, which UTF-8 cannot encode."""
        return json.dumps(content, separators=(",", ":")).encode()


def make_problem(
    connection: HTTPConnection, status: int, detail: Any, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ProblemResponse:
    """Return the response; `members` are further members of the problem."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    request_id = getattr(connection.state, "request_id", None)
    return ProblemResponse(problem | ({"request_id": request_id} if request_id else {}), status, headers)


def make_rejection(
    scope: Scope, status: int, detail: str, *, reason: str, headers: Mapping[str, str] | None = None
) -> ProblemResponse:
    """Return the response of a middleware that rejects a request; log and metrics name the reason."""
    scope.setdefault("state", {})["rejected"] = reason
    return make_problem(HTTPConnection(scope), status, detail, headers=headers)


def make_validation_problem(connection: HTTPConnection, fields: Iterable[FieldProblem]) -> ProblemResponse:
    """Return 422. What was sent is not repeated: it may hold secrets, and numbers that JSON has no form for."""
    fields = list(fields)
    detail = [{"type": field.type, "loc": [field.where, *field.path], "msg": field.message} for field in fields]
    pointers = [{"pointer": _make_pointer(field), "detail": field.message} for field in fields if field.where == "body"]
    return make_problem(connection, 422, detail, errors=pointers)


def make_unavailable(detail: str, *, retry_after: float = RETRY_SECONDS) -> HTTPException:
    """Return 503, with the seconds after which to try again."""
    return HTTPException(503, detail, {"Retry-After": str(max(1, round(retry_after)))})


def _make_pointer(field: FieldProblem) -> str:
    # For a body that is no JSON, FastAPI's path is the offset of the mistake.
    path = () if field.type == "json_invalid" else field.path
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def register_handlers(app: FastAPI) -> None:
    """Make all errors of the application answer with problem details."""
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(InvalidRequest, _handle_invalid_request)
    app.add_exception_handler(errors.KubeError, _handle_kube_error)
    app.add_exception_handler(Exception, _handle_unknown_error)


async def _handle_http_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    return make_problem(request, error.status_code, error.detail, headers=error.headers)


async def _handle_validation_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    return make_validation_problem(request, map(_read_validation_error, error.errors()))


def _read_validation_error(item: Mapping[str, Any]) -> FieldProblem:
    where, *path = item["loc"]
    return FieldProblem(tuple(path), item["msg"], item["type"], where)


async def _handle_invalid_request(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, InvalidRequest)
    return make_validation_problem(request, error.fields)


async def _handle_kube_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.KubeError)
    if isinstance(error, errors.Invalid):
        return make_validation_problem(request, list_field_problems(error))
    return await _handle_http_error(request, translate_kube_error(error))


async def _handle_unknown_error(request: Request, error: Exception) -> ProblemResponse:
    # The server logs the traceback; the response tells nothing of the internals.
    return make_problem(request, 500, "The front end failed; its log says why, under this request_id.")


def translate_kube_error(error: errors.KubeError) -> HTTPException:
    """Return what an error of the API server, other than a rejected object, means to a caller."""
    match error:
        case errors.Throttled():
            return make_unavailable("The API server is busy; try again.", retry_after=error.retry_after)
        case errors.NotFound():
            return HTTPException(404, "There is no such job, or its namespace or resource definition is gone.")
        case errors.Conflict():
            return HTTPException(409, "The job changed at the same moment; try again.")
        case errors.Forbidden():
            return _translate_forbidden(error)
    return make_unavailable(
        "The API server does not answer; a job sent now may or may not have arrived: look before sending it again."
    )


def _translate_forbidden(error: errors.Forbidden) -> HTTPException:
    denied = DENIED_BY_POLICY.search(error.message)
    if denied:
        return HTTPException(403, denied["sentence"])
    if error.status.get("code") == 401 or " cannot " in error.message:
        return HTTPException(
            500,
            "The front end lacks a right that it needs: check the Role and token of its service account.",
        )
    return HTTPException(403, error.message)


def list_field_problems(error: errors.Invalid) -> list[FieldProblem]:
    """Return the problems of a rejected object, field by field, in the names of the request."""
    denied = DENIED_BY_POLICY.search(error.message)
    if denied:
        return [FieldProblem((), translate_field_names(denied["sentence"]), "denied")]
    found = [_read_cause(cause) for cause in error.causes]
    return found or [FieldProblem((), error.message, "invalid")]


def _read_cause(cause: Mapping[str, str]) -> FieldProblem:
    path = translate_field_path(cause.get("field", ""))
    sentence = REJECTED_VALUE.sub("", cause.get("message", ""))
    return FieldProblem(
        path,
        translate_field_names(RESOURCE_FIELD.sub(f"{'.'.join(map(str, path))} ", sentence)),
        "invalid",
    )


def translate_field_names(sentence: str) -> str:
    """Return a sentence of the resource with the names of its fields as a request has them."""
    return CAMEL_CASE.sub(lambda name: to_snake(name[0]), sentence)


def translate_field_path(field: str) -> tuple[str | int, ...]:
    """Return `spec.tasks[2]` of the resource as ("tasks", 2) of the request; () for what has no place in a request."""
    root, *parts = re.findall(r"[^.\[\]]+", field) or [""]
    if root == "metadata" and parts and parts[0] in SETTABLE_METADATA:
        return tuple(parts)
    if root != "spec" or not parts:
        return ()
    name = to_snake(parts[0])
    rest = parts[1:] if name in CALLER_MAPS else map(to_snake, parts[1:])
    return (WIRE_NAMES.get(name, name), *(int(part) if part.isdigit() else part for part in rest))
