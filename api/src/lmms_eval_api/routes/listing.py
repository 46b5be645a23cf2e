"""GET /jobs: the query as `jobs.listing` understands it, and the response. Not in lmms-eval's own server."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lmms_eval_api.jobs import listing
from lmms_eval_api.jobs.job_info import make_job_summary
from lmms_eval_api.jobs.snapshot import ListingKey
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.routes.dependencies import WARN_IF_BEHIND, EvaluationsOf
from lmms_eval_core.wire import JobList, JobStatus

router = APIRouter(tags=["jobs"])

MAX_LABELS: Final = 16


class ListQuery(BaseModel):
    """Which jobs, and which page of them."""

    status: list[JobStatus] = Field(default_factory=list, description="In one of these states.")
    model: str | None = Field(default=None, description="Of this adapter.")
    task: str | None = Field(default=None, description="With this task.")
    label: list[str] = Field(
        default_factory=list,
        max_length=MAX_LABELS,
        description="With all of these: `key` or `key=value`.",
    )
    limit: int = Field(default=50, ge=1, le=500, description="Jobs on a page.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


@router.get("/jobs", dependencies=WARN_IF_BEHIND)
async def list_jobs(query: Annotated[ListQuery, Query()], evaluations: EvaluationsOf) -> JobList:
    """The jobs, newest first, a page at a time."""
    cache = evaluations.cache
    page = cache.list_page(_make_filter(query), after=_decode_cursor(query.cursor), limit=query.limit)
    return JobList(
        jobs=[make_job_summary(job, position=cache.find_position(job)) for job in page.jobs],
        next_cursor=listing.encode_job_cursor(page.last) if page.last is not None else None,
    )


def _make_filter(query: ListQuery) -> listing.JobFilter:
    try:
        labels = tuple(listing.parse_label(text) for text in query.label)
    except listing.InvalidLabel as error:
        raise _make_invalid_query("label", "A label is asked for as key, or as key=value.") from error
    return listing.JobFilter(frozenset(query.status), query.model, query.task, labels)


def _decode_cursor(cursor: str | None) -> ListingKey | None:
    try:
        return listing.decode_job_cursor(cursor) if cursor is not None else None
    except listing.InvalidJobCursor as error:
        raise _make_invalid_query(
            "cursor",
            "This is no next_cursor of a page; leave it out to begin with the newest.",
        ) from error


def _make_invalid_query(field: str, sentence: str) -> InvalidRequest:
    return InvalidRequest([FieldProblem((field,), sentence, where="query")])
