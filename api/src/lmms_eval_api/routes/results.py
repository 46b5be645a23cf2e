"""GET /jobs/{job_id}/results. Not in lmms-eval's own server, which answers with paths on its disk."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response

from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem
from lmms_eval_api.artifacts.stored_files import StoredFiles, find_stored_files
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.responses import PartsResponse
from lmms_eval_api.routes.dependencies import FROM_CACHE, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus

router = APIRouter(tags=["files"])


@router.get(
    "/jobs/{job_id}/results",
    dependencies=FROM_CACHE,
    response_model=dict[str, Any],
    responses=document_errors(404, 501, 502),
)
async def job_results(job_id: str, response: Response, backend: BackendOf, up_to_date: UpToDate) -> Response:
    """The results file as lmms-eval wrote it; a number that is none (NaN, Infinity) is null."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    files = require_files(job, what="results")
    if not files.has_results:
        raise HTTPException(404, f"Job {job.name} has no results: {explain_absence(job)}")
    if backend.archive.results is None:
        raise HTTPException(501, NO_STORE)
    try:
        results = await backend.archive.results.get(files)
    except StoreError as error:
        raise make_store_problem(
            error, f"Job {job.name} has no results: their file is not in the object store any more"
        ) from error
    return PartsResponse([results.text], media_type="application/json", headers=dict(response.headers))


def require_files(job: JobSnapshot, *, what: str) -> StoredFiles:
    """Return what the job has left behind, or raise 404 with the reason why there is nothing."""
    files = find_stored_files(job, job.document)
    if files is None:
        raise HTTPException(404, f"Job {job.name} has no {what}: {explain_absence(job)}")
    return files


def explain_absence(job: JobSnapshot) -> str:
    """Return why a job has left nothing, or nothing yet."""
    match job.status:
        case JobStatus.QUEUED:
            return "it has not started"
        case JobStatus.RUNNING:
            return "it is still running"
        case JobStatus.CANCELLED:
            return "it was cancelled"
        case JobStatus.FAILED:
            return f"it failed: {job.document.get('status', {}).get('reason')}"
    return "its attempt left none"
