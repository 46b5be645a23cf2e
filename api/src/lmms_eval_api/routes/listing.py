"""GET /jobs: the query as `listing` understands it, and the answer. lmms-eval's own server has no such route."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lmms_eval_api.jobs import listing
from lmms_eval_api.jobs.job_info import job_summary
from lmms_eval_api.jobs.snapshot import Age
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.routes.dependencies import MARKED, EvaluationsOf
from lmms_eval_core.wire import JobList, JobStatus

router = APIRouter(tags=["jobs"])

MAX_LABELS: Final = 16


class ListQuery(BaseModel):
    """Which jobs, and which page of them."""

    status: list[JobStatus] = Field(default_factory=list, description="In one of these states.")
    model: str | None = Field(default=None, description="Of this adapter.")
    task: str | None = Field(default=None, description="With this task.")
    label: list[str] = Field(default_factory=list, max_length=MAX_LABELS, description="With all of these: `key` or `key=value`.")
    limit: int = Field(default=50, ge=1, le=500, description="Jobs on a page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


@router.get("/jobs", dependencies=MARKED)
async def list_jobs(query: Annotated[ListQuery, Query()], evaluations: EvaluationsOf) -> JobList:
    """The jobs, newest first, a page at a time."""
    cache = evaluations.cache
    page = cache.page(_wanted(query), after=_after(query.cursor), limit=query.limit)
    return JobList(
        jobs=[job_summary(job, position=cache.position(job)) for job in page.jobs],
        next_cursor=listing.cursor_of(page.last) if page.last is not None else None,
    )


def _wanted(query: ListQuery) -> listing.Filter:
    try:
        labels = tuple(listing.label_of(text) for text in query.label)
    except listing.BadLabel as error:
        raise _refused("label", "A label is asked for as key, or as key=value.") from error
    return listing.Filter(frozenset(query.status), query.model, query.task, labels)


def _after(cursor: str | None) -> Age | None:
    try:
        return listing.after(cursor) if cursor is not None else None
    except listing.BadCursor as error:
        raise _refused("cursor", "This is no next_cursor of a page; leave it out to begin with the newest.") from error


def _refused(field: str, sentence: str) -> InvalidRequest:
    return InvalidRequest([FieldProblem((field,), sentence, where="query")])
