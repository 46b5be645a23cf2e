"""GET /jobs/{job_id}/logs. Not in lmms-eval's own server, which keeps its logs on its disk."""

from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from lmms_eval_api.artifacts.logs import LogRange, OpenedLog
from lmms_eval_api.artifacts.store import make_store_problem
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.problems import FieldProblem, InvalidRequest, make_unavailable
from lmms_eval_api.responses import AbortableStream
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import explain_absence
from lmms_eval_core.kube import errors
from lmms_eval_core.store.errors import StoreError

router = APIRouter(tags=["files"])

ATTEMPT: Final = "X-Log-Attempt"
OFFSET: Final = "X-Log-Offset"
HEADERS: Final[Mapping[str, Any]] = {
    ATTEMPT: {"description": "Of which attempt this is.", "schema": {"type": "integer"}},
    OFFSET: {
        "description": (
            "At which byte of the attempt's log the answer begins: at `offset`, or behind it where what is before "
            "is not "
            "kept any more. Missing with `tail`, and where nobody can tell."
        ),
        "schema": {"type": "integer"},
    },
}
TEXT: Final[dict[int | str, dict[str, Any]]] = {200: {"headers": HEADERS}}


class LogQuery(BaseModel):
    """Which log, and which part of it."""

    follow: bool = Field(default=False, description="Waits for the log, and goes on until the attempt's pod has ended.")
    attempt: int | None = Field(default=None, ge=1, le=1_000_000, description="By default the last one.")
    offset: int = Field(
        default=0,
        ge=0,
        le=2**53,
        description="Skips so many bytes, to go on where an answer broke off.",
    )
    tail: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Only so many of the last lines; not with `offset`.",
    )


async def limit_follows(query: Annotated[LogQuery, Query()], backend: BackendOf) -> AsyncIterator[LogQuery]:
    """Return the query; a caller who follows holds a place among those until the whole response has been sent."""
    with backend.archive.follows.hold() if query.follow else nullcontext():
        yield query


@router.get(
    "/jobs/{job_id}/logs",
    dependencies=FROM_CACHE,
    response_class=PlainTextResponse,
    responses={**TEXT, **document_errors(404)},
)
async def job_logs(
    job_id: str,
    query: Annotated[LogQuery, Depends(limit_follows)],
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
) -> Response:
    """What lmms-eval prints, without secrets, colours and moving bars: from the pod, and from the object store
    afterwards.

    An answer that breaks off is not the end of the log: ask again, with the number of bytes that you have as `offset`.
    """
    if query.tail is not None and query.offset:
        raise InvalidRequest(
            [FieldProblem(("tail",), "tail and offset exclude each other: leave one of them out.", where="query")]
        )
    job = await find_job(job_id, backend.evaluations, up_to_date)
    answer = await _open_log(job, query, backend)
    if answer is None:
        attempt = f" of attempt {query.attempt}" if query.attempt else ""
        raise HTTPException(404, f"Job {job.name} has no log{attempt}: {explain_absence(job)}")
    headers = {**response.headers, ATTEMPT: str(answer.attempt)}
    if answer.start is not None:
        headers[OFFSET] = str(answer.start)
    return AbortableStream(answer.content, stopping=backend.stopping, media_type="text/plain", headers=headers)


async def _open_log(job: JobSnapshot, query: LogQuery, backend: Backend) -> OpenedLog | None:
    async def find_newest() -> JobSnapshot | None:
        return await backend.evaluations.find(job.name)

    part = LogRange(offset=query.offset, tail=query.tail, follow=query.follow)
    try:
        return await backend.archive.logs.read(job, query.attempt, part, find=find_newest)
    except errors.Unavailable as error:
        raise make_unavailable(
            "The node of this job does not answer, or the API server; what it has is not lost. Try again."
        ) from error
    except StoreError as error:
        raise make_store_problem(error, f"Job {job.name} has no log") from error
