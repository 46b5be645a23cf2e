"""GET /jobs/{job_id}/files and /jobs/{job_id}/files/{path}: files that tasks wrote. Not in lmms-eval's own server."""

from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response

from lmms_eval_api.addresses import read_base_url
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem
from lmms_eval_api.artifacts.task_files import TaskFiles
from lmms_eval_api.responses import AbortableStream, hold_while_streaming, start_stream
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import require_files
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobFile, JobFiles

router = APIRouter(tags=["files"])

BYTES: Final = "application/octet-stream"
# A browser is to save the file, and never to show it: it may be a page with scripts.
HARMLESS: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}},
        "description": "The file, as an attachment.",
    }
}


@router.get("/jobs/{job_id}/files", dependencies=FROM_CACHE, responses=document_errors(404, 501))
async def job_files(job_id: str, request: Request, backend: BackendOf, up_to_date: UpToDate) -> JobFiles:
    """The files that the tasks of a job wrote themselves, below lmms-eval's output folder and in its working folder."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    files = require_files(job, what="files")
    try:
        sizes = await _get_task_files(backend).list_sizes(files.prefix)
    except StoreError as error:
        raise make_store_problem(error, f"Job {job.name} has no files") from error
    base = f"{read_base_url(request)}/jobs/{job.name}/files"
    listed = [JobFile(path=path, stored_bytes=size, url=f"{base}/{quote(path)}") for path, size in sizes.items()]
    return JobFiles(files=listed, truncated=files.truncated)


@router.get(
    "/jobs/{job_id}/files/{path:path}",
    dependencies=FROM_CACHE,
    response_class=Response,
    responses={**STREAMED, **document_errors(404, 501, 502)},
)
async def job_file(job_id: str, path: str, response: Response, backend: BackendOf, up_to_date: UpToDate) -> Response:
    """One of them, byte for byte but for what looked like a secret."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    files = require_files(job, what="files")
    missing = f"Job {job.name} has no file {path}; GET /jobs/{job.name}/files lists those that it has."
    try:
        content = await start_stream(
            await hold_while_streaming(
                backend.archive.downloads,
                _get_task_files(backend).stream_content(files.prefix, path),
            )
        )
    except StoreError as error:
        raise make_store_problem(error, missing) from error
    name = quote(path.rpartition("/")[2], safe="")
    headers = {**response.headers, **HARMLESS, "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return AbortableStream(content, stopping=backend.stopping, media_type=BYTES, headers=headers)


def _get_task_files(backend: Backend) -> TaskFiles:
    if backend.archive.task_files is None:
        raise HTTPException(501, NO_STORE)
    return backend.archive.task_files
