"""What the OpenAPI document says of answers that are no success; `problems` makes them."""

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, Field

from lmms_eval_api.problems import ProblemResponse

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


REFERENCE: Final = {"$ref": f"#/components/schemas/{Problem.__name__}"}
WAIT: Final = {"Retry-After": {"description": "Seconds after which it is worth trying again.", "schema": {"type": "integer"}}}
WAITING: Final = (429, 503)


def documented(*codes: int) -> Responses:
    """The `responses` of a route that may answer with these codes, besides success."""
    return {code: _response(code) for code in codes}


def _response(code: int) -> dict[str, Any]:
    content = {str(ProblemResponse.media_type): {"schema": REFERENCE}}
    return {"description": HTTPStatus(code).phrase, "content": content} | ({"headers": WAIT} if code in WAITING else {})


# Whatever is asked for: the door, the limits, a replica that cannot see the API server, a mistake of ours.
EVERYWHERE: Final = documented(400, 401, 403, 422, 429, 500, 503)


def schemas() -> dict[str, Any]:
    """The components that the responses refer to."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), Problem.__name__: schema}
