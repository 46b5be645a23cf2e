"""Error responses in the OpenAPI document; `problems` makes the responses themselves."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, Field

from lmms_eval_api.problems import ProblemResponse
from lmms_eval_core.wire import LiveAnswer

Responses = dict[int | str, dict[str, Any]]


class Detail(BaseModel):
    """What is wrong with one part of a request, as FastAPI says it."""

    type: str
    loc: list[str | int]
    msg: str


class Pointer(BaseModel):
    """The same, with a JSON pointer into the body."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457). `detail` is what lmms-eval's own server says, a sentence or a list."""

    type: str
    title: str
    status: int
    detail: str | list[Detail]
    errors: list[Pointer] = Field(default_factory=list)
    request_id: str = ""


PROBLEM_REFERENCE: Final = {"$ref": f"#/components/schemas/{Problem.__name__}"}
RETRY_AFTER_HEADER: Final = {
    "Retry-After": {"description": "Seconds after which it is worth trying again.", "schema": {"type": "integer"}}
}
RETRY_AFTER_CODES: Final = (429, 503)


def document_errors(*codes: int) -> Responses:
    """Return the `responses` of a route that may answer with these codes, besides success."""
    return {code: _make_response(code) for code in codes}


def _make_response(code: int) -> dict[str, Any]:
    content = {str(ProblemResponse.media_type): {"schema": PROBLEM_REFERENCE}}
    return {"description": HTTPStatus(code).phrase, "content": content} | (
        {"headers": RETRY_AFTER_HEADER} if code in RETRY_AFTER_CODES else {}
    )


# Of every route: authentication, limits, a replica without the API server, and failures of the front end itself.
COMMON_ERRORS: Final = document_errors(400, 401, 403, 422, 429, 500, 503)


def make_schemas() -> dict[str, Any]:
    """Return the components that the responses refer to, and the items of pages that hold different ones."""
    schemas: dict[str, Any] = {}
    for model in (Problem, LiveAnswer):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        schemas |= {**schema.pop("$defs"), model.__name__: schema}
    return schemas
