"""GET /jobs/{job_id}/media/{digest}: what the model adapter got of a document. Not in lmms-eval's own server.

The path says which job, so that who may read that job may read this. A file that the job does not show is not there,
whoever else has it. Files come from other people's data: only known types are sent, told by their first bytes, and no
browser may run or frame them, or show them in a page of another origin.
"""

import re
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from lmms_eval_api.artifacts.media import PIECE_BYTES, MediaFile, MediaReader, NoMedia
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem
from lmms_eval_api.artifacts.stored_files import list_shown_prefixes
from lmms_eval_api.ranges import ByteRange, UnsatisfiableRange, find_range, has_version
from lmms_eval_api.responses import AbortableStream, PartsResponse, hold_while_streaming, start_stream
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.files import HARMLESS
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.store.errors import StoreError

router = APIRouter(tags=["files"])

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# A browser asks each time whether the caller may still see what it has.
KEPT: Final = {"Cache-Control": "private, no-cache", "Cross-Origin-Resource-Policy": "same-origin"}
GONE: Final = "This file is no longer kept: the store keeps media for a time, and as many as its administrator allows."
NOT_SHOWN: Final = "What is stored under this digest is no image, video or sound of a kind that is shown."
BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"*/*": BINARY}, "description": "The file."},
    206: {"content": {"*/*": BINARY}, "description": "The part of it that `Range` asks for."},
    304: {"description": "The caller has it already."},
    416: {"description": "It has no byte of the range."},
}


@router.get(
    "/jobs/{job_id}/media/{digest}",
    dependencies=FROM_CACHE,
    response_class=Response,
    responses={**ANSWERS, **document_errors(404, 501, 502)},
)
async def job_media(job_id: str, digest: str, request: Request, backend: BackendOf, up_to_date: UpToDate) -> Response:
    """An image, a video or a sound that samples or answers of the job name by its SHA-256."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    etag = f'"{digest}"'
    missing = f"Job {job.name} shows no media of this digest."
    if DIGEST.fullmatch(digest) is None:
        raise HTTPException(404, missing)
    headers = {**HARMLESS, **KEPT, "ETag": etag}
    if has_version(request.headers, etag):
        return Response(status_code=304, headers=headers)
    reader = _get_reader(backend)
    try:
        for attempt in list_shown_prefixes(job):
            if await reader.is_shown(attempt, digest):
                file = await reader.open(attempt.namespace, digest)
                return await _respond(request, backend, reader, file, headers)
    except NoMedia as error:
        raise HTTPException(404, NOT_SHOWN) from error
    except StoreError as error:
        raise make_store_problem(error, GONE) from error
    raise HTTPException(404, missing)


async def _respond(
    request: Request, backend: Backend, reader: MediaReader, file: MediaFile, headers: dict[str, str]
) -> Response:
    name = f"{headers['ETag'][1:17]}.{file.type.ending}"
    headers |= {"Accept-Ranges": "bytes", "Content-Disposition": f'inline; filename="{name}"'}
    try:
        part = find_range(request.headers, file.size, headers["ETag"])
    except UnsatisfiableRange:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    start, end = part or ByteRange(0, file.size)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    content = reader.stream(file, start, end)
    response: Response
    if end - start <= PIECE_BYTES:
        response = PartsResponse([piece async for piece in content], media_type=file.type.name, headers=headers)
    else:
        headers["Content-Length"] = str(end - start)
        held = await start_stream(await hold_while_streaming(backend.archive.media_streams, content))
        response = AbortableStream(held, stopping=backend.stopping, media_type=file.type.name, headers=headers)
    response.status_code = 200 if part is None else 206
    return response


def _get_reader(backend: Backend) -> MediaReader:
    if backend.archive.media is None:
        raise HTTPException(501, NO_STORE)
    return backend.archive.media
