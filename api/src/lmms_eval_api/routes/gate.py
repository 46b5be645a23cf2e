"""GET /jobs/{job_id}/gate: what the gate of a job says, as its status has it."""

from fastapi import APIRouter, HTTPException

from lmms_eval_api.jobs.job_info import make_job_gate
from lmms_eval_api.routes.dependencies import EvaluationsOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.wire import JobGate

router = APIRouter(tags=["jobs"])


@router.get("/jobs/{job_id}/gate", responses=document_errors(404))
async def get_gate(job_id: str, evaluations: EvaluationsOf, up_to_date: UpToDate) -> JobGate:
    """The verdict of a job's gate, and what led to it; without a verdict until the job has ended."""
    found = make_job_gate(await find_job(job_id, evaluations, up_to_date))
    if found is None:
        raise HTTPException(404, f"Job {job_id} has no gate.")
    return found
