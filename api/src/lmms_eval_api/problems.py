"""Every answer that is no success, in one place: `detail` as lmms-eval's own server says it, inside problem details (RFC 9457).

`detail` is a string, or for a refused body the list of FastAPI, which clients of the original expect; `errors` says the same
with JSON pointers. Parts raise `fastapi.HTTPException`, `Refused` or let an error of the API server through.
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
# `Invalid value: "string": sentence` of the API server; the value may be long, or private.
REJECTED_VALUE: Final = re.compile(r'^(?:Invalid|Unsupported|Duplicate) value: (?:"(?:[^"\\]|\\.)*"|[^\s:]+): ', re.DOTALL)
RESOURCE_FIELD: Final = re.compile(r"^spec\.\S+ in body (?=should |must )")
DENIED_BY_POLICY: Final = re.compile(r"denied request: (?P<sentence>.+)$", re.DOTALL)
# Fields whose names on the wire are not those of the resource in another spelling.
WIRE_NAMES: Final = {"gpus": "num_gpus"}
# Maps of the caller's own, whose keys are no field names.
MAPS: Final = frozenset({"model_args", "node_selector"})
# The parts of `metadata` that a request can set.
METADATA: Final = frozenset({"name", "labels"})
# Names of the resource's fields that its sentences use in the middle of other words.
RESOURCES: Final = (spec.EvaluationSpec, spec.EnvVar, spec.Resources, spec.SecretKeyRef, spec.Toleration, spec.Volume)
CAMEL_CASE: Final = re.compile(
    rf"\b(?:{'|'.join({to_camel(name) for kind in RESOURCES for name in kind.model_fields if '_' in name})})\b"
)


class FieldProblem(NamedTuple):
    """What is wrong with one field: its path in the body, or `where` else; a word for programs, a sentence for people."""

    path: tuple[str | int, ...]
    message: str
    type: str = "value_error"
    where: str = "body"


class Refused(Exception):
    """The body is understood and cannot be accepted."""

    def __init__(self, fields: Iterable[FieldProblem]) -> None:
        self.fields = list(fields)
        super().__init__("; ".join(field.message for field in self.fields))


class ProblemResponse(JSONResponse):
    """JSON with the media type of RFC 9457."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """ASCII: a name that was sent may hold half a character, which nothing else can carry back."""
        return json.dumps(content, separators=(",", ":")).encode()


def answer(
    connection: HTTPConnection, status: int, detail: Any, *, headers: Mapping[str, str] | None = None, **members: Any
) -> ProblemResponse:
    """The response; `members` are further members of the problem."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    request_id = getattr(connection.state, "request_id", None)
    return ProblemResponse(problem | ({"request_id": request_id} if request_id else {}), status, headers)


def rejected(scope: Scope, status: int, detail: str, *, reason: str, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """The response of a middleware that lets a request go no further; the log and the metrics name the reason."""
    scope.setdefault("state", {})["rejected"] = reason
    return answer(HTTPConnection(scope), status, detail, headers=headers)


def refusal(connection: HTTPConnection, fields: Iterable[FieldProblem]) -> ProblemResponse:
    """422 for a body. What was sent is not repeated: it may hold secrets, and numbers that JSON cannot say."""
    fields = list(fields)
    detail = [{"type": field.type, "loc": [field.where, *field.path], "msg": field.message} for field in fields]
    pointers = [{"pointer": _pointer(field), "detail": field.message} for field in fields if field.where == "body"]
    return answer(connection, 422, detail, errors=pointers)


def unavailable(detail: str, *, retry_after: float = RETRY_SECONDS) -> HTTPException:
    """503, with the time after which it is worth trying again."""
    return HTTPException(503, detail, {"Retry-After": str(max(1, round(retry_after)))})


def _pointer(field: FieldProblem) -> str:
    # In text that is no JSON, FastAPI's path is the offset of the mistake.
    path = () if field.type == "json_invalid" else field.path
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def register(app: FastAPI) -> None:
    """Makes all errors of the application answer like this."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(errors.KubeError, _on_kube)
    app.add_exception_handler(Exception, _on_unknown)


async def _on_http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    return answer(request, error.status_code, error.detail, headers=error.headers)


async def _on_validation(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    return refusal(request, map(_field_problem, error.errors()))


def _field_problem(item: Mapping[str, Any]) -> FieldProblem:
    where, *path = item["loc"]
    return FieldProblem(tuple(path), item["msg"], item["type"], where)


async def _on_refused(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, Refused)
    return refusal(request, error.fields)


async def _on_kube(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.KubeError)
    if isinstance(error, errors.Invalid):
        return refusal(request, fields_of(error))
    return await _on_http(request, from_kube(error))


async def _on_unknown(request: Request, error: Exception) -> ProblemResponse:
    # The server logs the traceback; the caller learns nothing of our insides.
    return answer(request, 500, "The front end failed; its log says why, under this request_id.")


def from_kube(error: errors.KubeError) -> HTTPException:
    """What an error of the API server, other than a refused object, means to a caller."""
    match error:
        case errors.Throttled():
            return unavailable("The API server is busy; try again.", retry_after=error.retry_after)
        case errors.NotFound():
            return HTTPException(404, "There is no such job, or its namespace or resource definition is gone.")
        case errors.Conflict():
            return HTTPException(409, "The job changed at the same moment; try again.")
        case errors.Forbidden():
            return _forbidden(error)
    return unavailable(
        "The API server does not answer; a job sent now may or may not have arrived: look before sending it again."
    )


def _forbidden(error: errors.Forbidden) -> HTTPException:
    denied = DENIED_BY_POLICY.search(error.message)
    if denied:
        return HTTPException(403, denied["sentence"])
    if error.status.get("code") == 401 or " cannot " in error.message:
        return HTTPException(500, "The front end lacks a right that it needs: check the Role and token of its service account.")
    return HTTPException(403, error.message)


def fields_of(error: errors.Invalid) -> list[FieldProblem]:
    """A refused object, field by field, in the names of the request."""
    denied = DENIED_BY_POLICY.search(error.message)
    if denied:
        return [FieldProblem((), wire_words(denied["sentence"]), "denied")]
    found = [_field(cause) for cause in error.causes]
    return found or [FieldProblem((), error.message, "invalid")]


def _field(cause: Mapping[str, str]) -> FieldProblem:
    path = wire_path(cause.get("field", ""))
    sentence = REJECTED_VALUE.sub("", cause.get("message", ""))
    return FieldProblem(path, wire_words(RESOURCE_FIELD.sub(f"{'.'.join(map(str, path))} ", sentence)), "invalid")


def wire_words(sentence: str) -> str:
    """A sentence of the resource with the names of its fields as a request has them."""
    return CAMEL_CASE.sub(lambda name: to_snake(name[0]), sentence)


def wire_path(field: str) -> tuple[str | int, ...]:
    """`spec.tasks[2]` of the resource as ("tasks", 2) of the request; () for what has no place in a request."""
    root, *parts = re.findall(r"[^.\[\]]+", field) or [""]
    if root == "metadata" and parts and parts[0] in METADATA:
        return tuple(parts)
    if root != "spec" or not parts:
        return ()
    name = to_snake(parts[0])
    rest = parts[1:] if name in MAPS else map(to_snake, parts[1:])
    return (WIRE_NAMES.get(name, name), *(int(part) if part.isdigit() else part for part in rest))
