"""GET /jobs/{job_id}/compare: is a job better than another one? Not in lmms-eval's own server.

The caller needs `get` on each job that is named (`auth.attributes`).
"""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from lmms_eval_api.artifacts.comparison import CompletedJob, WantedComparison
from lmms_eval_api.artifacts.comparison_body import ComparisonOptions
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem, read_within
from lmms_eval_api.artifacts.stored_files import find_stored_files
from lmms_eval_api.auth.attributes import MAX_FURTHER
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import PartsResponse
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import explain_absence
from lmms_eval_core.compare.columns import MAX_FLIPS
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus
from lmms_eval_core.wire_comparison import JobComparison

router = APIRouter(tags=["jobs"])

COMPARE_SECONDS: Final = 60.0


class CompareQuery(BaseModel):
    """What the job is compared with, and what is wanted beyond the numbers."""

    baseline: list[str] = Field(
        min_length=1, max_length=MAX_FURTHER, description="A job to compare with; may be repeated."
    )
    candidate: list[str] = Field(
        default_factory=list,
        max_length=MAX_FURTHER,
        description="A further job to compare with the baselines; may be repeated. Five jobs in all.",
    )
    margin: float | None = Field(
        default=None,
        ge=1e-6,
        allow_inf_nan=False,
        description="In the units of the metrics: sets `needed`, the documents that show that no more is lost.",
    )
    changed: int = Field(
        default=0, ge=0, le=MAX_FLIPS, description="Lists so many documents that were lost, and as many that were won."
    )


@router.get(
    "/jobs/{job_id}/compare",
    dependencies=FROM_CACHE,
    response_model=JobComparison,
    responses=document_errors(404, 409, 501, 502),
)
async def compare_jobs(
    job_id: str, query: Annotated[CompareQuery, Query()], response: Response, backend: BackendOf, up_to_date: UpToDate
) -> Response:
    """The differences of a job to others, document by document, with intervals and what speaks against comparing."""
    candidates = [job_id, *query.candidate]
    _check_names([*query.baseline, *candidates])
    comparer = backend.archive.comparisons
    if comparer is None:
        raise HTTPException(501, NO_STORE)
    wanted = WantedComparison(
        await _find_jobs(query.baseline, backend, up_to_date=up_to_date),
        await _find_jobs(candidates, backend, up_to_date=up_to_date),
        ComparisonOptions(query.margin, query.changed),
    )
    try:
        body = await read_within(COMPARE_SECONDS, comparer.compare(wanted))
    except StoreError as error:
        missing = "A results file of these jobs is not in the object store any more."
        raise make_store_problem(error, missing) from error
    return PartsResponse([body], media_type="application/json", headers=dict(response.headers))


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_FURTHER + 1:
        raise _make_problem(f"At most {MAX_FURTHER + 1} jobs are compared at once.")
    if len(set(names)) < len(names):
        raise _make_problem("A job is compared with other ones: name each once.")


async def _find_jobs(names: Sequence[str], backend: Backend, *, up_to_date: bool) -> list[CompletedJob]:
    return [await find_completed(name, backend, up_to_date=up_to_date) for name in names]


async def find_completed(name: str, backend: Backend, *, up_to_date: bool) -> CompletedJob:
    """Return a job with its files. Raises 404 for one that does not exist, 409 for one without results."""
    job = await find_job(name, backend.evaluations, up_to_date)
    if job.status is not JobStatus.COMPLETED:
        raise HTTPException(409, f"Job {job.name} cannot be compared: {explain_absence(job)}.")
    files = find_stored_files(job, job.document)
    if files is None or not files.has_results:
        raise HTTPException(409, f"Job {job.name} cannot be compared: it has no results.")
    return CompletedJob(job, files)


def _make_problem(sentence: str) -> InvalidRequest:
    return InvalidRequest([FieldProblem(("baseline",), sentence, where="query")])
