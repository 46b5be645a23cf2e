"""POST /evaluate, GET and DELETE /jobs/{job_id}: paths, codes and texts of lmms-eval's own server."""

from fastapi import APIRouter, HTTPException

from lmms_eval_api.answers import job_info
from lmms_eval_api.evaluations import AlreadyEnded
from lmms_eval_api.job import Job
from lmms_eval_api.routes.dependencies import FROM_CACHE, Caller, EvaluationsOf
from lmms_eval_core.kube import errors
from lmms_eval_core.wire import CancelResponse, EvaluateRequest, JobInfo, JobStatus, JobSubmitResponse

router = APIRouter(tags=["jobs"])


@router.post("/evaluate")
async def evaluate(request: EvaluateRequest, evaluations: EvaluationsOf) -> JobSubmitResponse:
    """Submit an evaluation. It is stored when this answers, and runs when its turn comes."""
    job, warnings = await evaluations.submit(request)
    position = evaluations.cache.position(job) or 0
    message = f"Job queued successfully. Position in queue: {position}"
    return JobSubmitResponse(job_id=job.name, position_in_queue=position, message=message, warnings=warnings)


@router.get("/jobs/{job_id}", dependencies=FROM_CACHE)
async def get_job(job_id: str, evaluations: EvaluationsOf) -> JobInfo:
    """State, progress and scores of a job."""
    job = await evaluations.find(job_id)
    if job is None:
        raise _not_found(job_id)
    return job_info(job, position=evaluations.cache.position(job))


@router.delete("/jobs/{job_id}")
async def cancel_job(job_id: str, evaluations: EvaluationsOf, caller: Caller) -> CancelResponse:
    """Cancel a job, queued or running. Other than in lmms-eval's own server, a running one is stopped."""
    job = await evaluations.find(job_id)
    if job is None:
        raise _not_found(job_id)
    try:
        cancelled = await evaluations.cancel(job, by=caller)
    except errors.NotFound as error:
        raise _not_found(job_id) from error
    except AlreadyEnded as error:
        raise HTTPException(400, "Job already finished or cancelled") from error
    return CancelResponse(message=_cancelled(cancelled))


def _cancelled(job: Job) -> str:
    return f"Job {job.name} is being cancelled" if job.status is JobStatus.RUNNING else f"Job {job.name} cancelled"


def _not_found(job_id: str) -> HTTPException:
    return HTTPException(404, f"Job {job_id} not found")
