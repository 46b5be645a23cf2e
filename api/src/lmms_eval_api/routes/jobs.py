"""POST /evaluate and /jobs/{job_id}: paths, codes and texts of lmms-eval's own server, and PATCH of our own."""

from collections.abc import Sequence
from typing import Annotated, Final, cast

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response

from lmms_eval_api.addresses import read_base_url
from lmms_eval_api.artifacts.job_details import JobView, add_links, render_details
from lmms_eval_api.auth import Caller
from lmms_eval_api.auth.attributes import ResourceAttributes, is_job_name
from lmms_eval_api.jobs.evaluations import AlreadyEnded, AlreadyRunning
from lmms_eval_api.jobs.identity import KeyReused, NameTaken
from lmms_eval_api.jobs.job_info import make_job_info
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.jobs.submission import find_oversized
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import PartsResponse
from lmms_eval_api.routes.dependencies import (
    BackendOf,
    CallerName,
    EvaluationsOf,
    UpToDate,
    UpToDateForWrite,
    Web,
    WebOf,
    set_version_cookie,
)
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.kube import errors
from lmms_eval_core.wire import CancelResponse, EvaluateRequest, JobInfo, JobPatch, JobStatus, JobSubmitResponse

router = APIRouter(tags=["jobs"])

REPLAYED: Final = "Idempotency-Replayed"
KEY: Final = "Idempotency-Key"
SAMPLES: Final = "samples"
# The version of the job that is shown, by which a page tells whether its stream has told of a newer one.
VERSION_HEADER: Final = "Job-Version"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=KEY,
        min_length=1,
        max_length=255,
        pattern=r"^[\x20-\x7e]+$",
        description="Your name for this submission: sent again with the same body, it is the same job, while that "
        "is kept.",
    ),
]
Included = Annotated[Sequence[str], Query(description="`samples`: also the first ten samples of each task.")]
DryRun = Annotated[bool, Query(alias="dryRun", description="Has everything checked and nothing stored.")]


@router.post("/evaluate", responses=document_errors(409, 413))
async def evaluate(
    body: EvaluateRequest,
    request: Request,
    response: Response,
    backend: BackendOf,
    web: WebOf,
    caller: CallerName,
    key: IdempotencyKey = None,
    dry_run: DryRun = False,
) -> JobSubmitResponse:
    """Submit an evaluation. It is stored when this answers, and runs when its turn comes."""
    await require_baseline(request, web, body)
    evaluations = backend.evaluations
    submit = evaluations.validate if dry_run else evaluations.submit
    try:
        submitted = await submit(body, caller=caller, key=key)
    except NameTaken as error:
        raise HTTPException(409, f"There is a job {error} already: choose another name, or leave it out.") from error
    except KeyReused as error:
        raise InvalidRequest(
            [FieldProblem((KEY,), "This key was sent before, with another body; use a new one.", where="header")]
        ) from error
    if not dry_run:
        set_version_cookie(request, response, submitted.job)
    if submitted.replayed:
        response.headers[REPLAYED] = "true"
    warnings = [*submitted.warnings, *backend.catalogue.list_warnings(body)]
    return _make_submit_response(
        submitted.job, warnings, position=evaluations.cache.find_position(submitted.job) or 0, dry_run=dry_run
    )


async def require_baseline(request: Request, web: Web, wanted: EvaluateRequest) -> None:
    """Raise 403 where the caller may not read the baseline of a gate, as the verdict says much of it.

    The front end creates with its own account, whose rights are what admission looks at.
    """
    if wanted.gate is None or wanted.gate.baseline is None:
        return
    name = wanted.gate.baseline.evaluation
    asked = ResourceAttributes("get", name if is_job_name(name) else "")
    sentence = await web.authenticator.find_refusal(cast(Caller, request.state.identity), asked)
    if sentence is not None:
        raise HTTPException(403, sentence)


def _make_submit_response(job: JobSnapshot, warnings: list[str], *, position: int, dry_run: bool) -> JobSubmitResponse:
    message = "Nothing was stored: dry run." if dry_run else f"Job queued successfully. Position in queue: {position}"
    return JobSubmitResponse(
        job_id=job.name,
        status=job.status,
        position_in_queue=position,
        message=message,
        warnings=warnings,
    )


@router.get("/jobs/{job_id}", response_model=JobInfo, responses=document_errors(404))
async def get_job(
    job_id: str, request: Request, response: Response, backend: BackendOf, up_to_date: UpToDate, include: Included = ()
) -> Response:
    """State, progress and scores of a job; of a completed one the structure of the results file too, as `output`."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    info = make_job_info(job, position=backend.evaluations.cache.find_position(job))
    viewed = JobView(job, job.document, read_base_url(request))
    response.headers[VERSION_HEADER] = str(job.version)
    body = await render_details(info, viewed, backend.archive, samples=_includes_samples(include))
    return PartsResponse(body, media_type="application/json", headers=dict(response.headers))


@router.patch("/jobs/{job_id}", responses=document_errors(404, 409, 413))
async def change_job(
    job_id: str,
    body: JobPatch,
    request: Request,
    response: Response,
    evaluations: EvaluationsOf,
    up_to_date: UpToDateForWrite,
) -> JobInfo:
    """Change what may change of a stored job: its place in the queue, and when it is deleted after its end."""
    if problems := list(find_oversized(body)):
        raise InvalidRequest(problems)
    job = await find_job(job_id, evaluations, up_to_date)
    try:
        changed = await evaluations.change(job, body)
    except errors.NotFound as error:
        raise make_not_found(job_id) from error
    set_version_cookie(request, response, changed)
    info = make_job_info(changed, position=evaluations.cache.find_position(changed))
    return add_links(info, JobView(changed, changed.document, read_base_url(request)))


@router.delete("/jobs/{job_id}", responses=document_errors(404, 409))
async def cancel_job(
    job_id: str,
    request: Request,
    response: Response,
    backend: BackendOf,
    caller: CallerName,
    up_to_date: UpToDateForWrite,
) -> CancelResponse:
    """Cancel a job, queued or running. Other than in lmms-eval's own server, a running one is stopped."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    try:
        cancelled = await backend.evaluations.cancel(job, by=caller, running=backend.cancels_running)
    except errors.NotFound as error:
        raise make_not_found(job_id) from error
    except AlreadyRunning as error:
        raise HTTPException(400, "Cannot cancel a running job") from error
    except AlreadyEnded as error:
        raise HTTPException(400, "Job already finished or cancelled") from error
    set_version_cookie(request, response, cancelled)
    return CancelResponse(message=_make_cancel_message(cancelled))


def _includes_samples(include: Sequence[str]) -> bool:
    wanted = {word for words in include for word in words.split(",")}
    if not wanted <= {SAMPLES}:
        raise InvalidRequest([FieldProblem(("include",), f"There is nothing to include but {SAMPLES}.", where="query")])
    return bool(wanted)


def _make_cancel_message(job: JobSnapshot) -> str:
    return f"Job {job.name} is being cancelled" if job.status is JobStatus.RUNNING else f"Job {job.name} cancelled"


async def find_job(job_id: str, evaluations: EvaluationsOf, up_to_date: bool) -> JobSnapshot:
    """Return the job, or raise 404 in the words of lmms-eval's own server."""
    job = await evaluations.find(job_id, up_to_date=up_to_date)
    if job is None:
        raise make_not_found(job_id)
    return job


def make_not_found(job_id: str) -> HTTPException:
    """Return the error for a job that does not exist."""
    return HTTPException(404, f"Job {job_id} not found")
