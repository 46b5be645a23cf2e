"""GET /tasks and GET /models: what the evaluator image knows, as lmms-eval's own server answers, and searches."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from lmms_eval_api.catalogue.index import CatalogueResponse
from lmms_eval_api.routes.dependencies import BackendOf
from lmms_eval_core.wire import ModelList, TaskList

router = APIRouter(tags=["catalogue"], responses={304: {"description": "As the caller has it already."}})

Search = Annotated[
    str,
    Query(max_length=200, description="Names that hold this, in whatever case; a model's aliases too."),
]
Details = Annotated[bool, Query(description="What is known of each, instead of its name alone.")]
Known = Annotated[str, Header(alias="If-None-Match")]


@router.get("/tasks", response_model=TaskList)
async def list_tasks(backend: BackendOf, q: Search = "", details: Details = False, known: Known = "") -> Response:
    """Tasks, groups and tags, sorted. While there is no list, `error` says why."""
    return make_conditional_response(backend.catalogue.list_tasks(q=q, details=details), known)


@router.get("/models", response_model=ModelList)
async def list_models(backend: BackendOf, q: Search = "", details: Details = False, known: Known = "") -> Response:
    """Model ids, sorted.

    `unavailable` names those that the image cannot use. While there is no list, `error` says why.
    """
    return make_conditional_response(backend.catalogue.list_models(q=q, details=details), known)


def make_conditional_response(answer: CatalogueResponse, known: str) -> Response:
    """Return the answer, or 304 for a caller who has it."""
    headers = {"ETag": answer.etag, "Cache-Control": "private, no-cache"}
    if is_known(answer.etag, known):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type="application/json", headers=headers)


def is_known(etag: str, known: str) -> bool:
    """Whether If-None-Match says that the caller has what this ETag names."""
    return known == "*" or etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}
