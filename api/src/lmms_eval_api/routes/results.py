"""GET /jobs/{job_id}/results. lmms-eval's own server has no such route, and answers with paths on its disk."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response

from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem
from lmms_eval_api.artifacts.stored_files import StoredFiles, find_stored_files
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.responses import PartsResponse
from lmms_eval_api.routes.dependencies import FROM_CACHE, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import found
from lmms_eval_api.routes.openapi import documented
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus

router = APIRouter(tags=["files"])


@router.get("/jobs/{job_id}/results", dependencies=FROM_CACHE, response_model=dict[str, Any], responses=documented(404, 501, 502))
async def job_results(job_id: str, response: Response, backend: BackendOf, up_to_date: UpToDate) -> Response:
    """The results file as lmms-eval wrote it; a number that is none (NaN, Infinity) is null."""
    job = await found(job_id, backend.evaluations, up_to_date)
    files = produced(job, what="results")
    if not files.has_results:
        raise HTTPException(404, f"Job {job.name} has no results: {why_none(job)}")
    if backend.archive.results is None:
        raise HTTPException(501, NO_STORE)
    try:
        results = await backend.archive.results.get(files)
    except StoreError as error:
        raise make_store_problem(
            error, f"Job {job.name} has no results: their file is not in the object store any more"
        ) from error
    return PartsResponse([results.text], media_type="application/json", headers=dict(response.headers))


def produced(job: JobSnapshot, *, what: str) -> StoredFiles:
    """What the job has left behind, or 404 with the reason why it has nothing."""
    files = find_stored_files(job, job.document)
    if files is None:
        raise HTTPException(404, f"Job {job.name} has no {what}: {why_none(job)}")
    return files


def why_none(job: JobSnapshot) -> str:
    """Why a job has left nothing, or not yet."""
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
