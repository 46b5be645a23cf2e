"""GET /jobs/{job_id}/samples/{task}, page by page or whole. Not in lmms-eval's own server.

Where a job has no samples, but answers, `answers` responds.
"""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, HTTPException, Query, Response
from pydantic import BaseModel, Field

from lmms_eval_api.artifacts.answers import WantedAnswers
from lmms_eval_api.artifacts.archive import Archive
from lmms_eval_api.artifacts.frames import InvalidSampleCursor, Position, decode_sample_cursor, encode_sample_cursor
from lmms_eval_api.artifacts.journal_position import MAX_CURSOR, is_answer_cursor
from lmms_eval_api.artifacts.sample_filter import Filter, SampleSelection
from lmms_eval_api.artifacts.sample_page import SamplePageBuilder
from lmms_eval_api.artifacts.samples import SampleReader, WantedSamples
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem, read_within
from lmms_eval_api.artifacts.stored_files import StoredFiles, find_stored_files
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import AbortableStream, PartsResponse, hold_while_streaming, intersperse, start_stream
from lmms_eval_api.routes.answers import find_answers, render_answers, require_reader, stream_answer_lines
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import require_files
from lmms_eval_core import layout
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus, SamplePage

router = APIRouter(tags=["files"])

LINES: Final = "application/x-ndjson"
PAGE_SECONDS: Final = 30.0
NAMED_TASKS: Final = 20
STREAMED: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {LINES: {"schema": {"type": "string"}}}}}
Accept = Annotated[
    str,
    Header(description=f"{LINES}: the whole file, or all that the filter wants of it, a sample a line."),
]


class SamplesQuery(BaseModel):
    """Which samples, and which page of them."""

    limit: int = Field(
        default=50,
        ge=1,
        le=500,
        description="Samples on a page. It may hold fewer, and yet have a next one.",
    )
    cursor: str | None = Field(default=None, max_length=MAX_CURSOR, description="`next_cursor` of the page before.")
    live: bool = Field(
        default=False,
        description="Of a job that runs, the answers so far: `partial` is true, and each is a LiveAnswer. Once the job "
        "has completed, its samples. Of a job that was cancelled or failed, the answers come without it too.",
    )
    filter: Filter | None = Field(
        default=None,
        description=(
            "`wrong`: for the sample, some metric of the task is below 1, or above 0 where `higher_is_better` is "
            "false. "
            "The metrics are those of the results file; a sample's number for one is the value of that name, or in an "
            "object the value under the task's `score_key`, else under `score`. Samples without any such number "
            "are left "
            "out, and counted in `unjudged`. `empty`: nothing but white space in `filtered_resps`, or in `resps` where "
            "that is missing."
        ),
    )


@router.get(
    "/jobs/{job_id}/samples/{task}",
    dependencies=FROM_CACHE,
    response_model=SamplePage,
    responses={**STREAMED, **document_errors(404, 409, 501, 502)},
)
async def job_samples(
    job_id: str,
    task: str,
    query: Annotated[SamplesQuery, Query()],
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
    accept: Accept = "",
) -> Response:
    """The samples of a task, in the order and with the fields of lmms-eval's file; a number that is
    none (NaN) is null.
    """
    job = await find_job(job_id, backend.evaluations, up_to_date)
    answers = find_answers(job, task, only_empty=query.filter is Filter.EMPTY, live=query.live)
    if answers is not None:
        return await _respond_with_answers(job, answers, query, accept, response, backend)
    files = _require_files(job, query)
    samples = backend.archive.samples
    if samples is None:
        raise HTTPException(501, NO_STORE)
    missing = f"Job {job.name} has no samples of {task}; {_describe_tasks(files)}"
    file = layout.sample_file(task)
    if file not in files.files and not files.truncated:
        raise HTTPException(404, missing)
    try:
        wanted = WantedSamples(
            files.prefix.file(file),
            await _make_selection(backend.archive, files, task, query.filter),
        )
        if LINES in accept:
            content = await start_stream(
                await hold_while_streaming(backend.archive.downloads, samples.stream_selected(wanted)),
            )
            return AbortableStream(content, stopping=backend.stopping, media_type=LINES, headers=dict(response.headers))
        content_of_page = await _render_page(samples, wanted, files, query)
    except StoreError as error:
        raise make_store_problem(error, missing) from error
    return PartsResponse(content_of_page, media_type="application/json", headers=dict(response.headers))


async def _respond_with_answers(
    job: JobSnapshot, wanted: WantedAnswers, query: SamplesQuery, accept: str, response: Response, backend: Backend
) -> Response:
    if query.filter is Filter.WRONG:
        sentence = "Nothing is scored of a job without samples: leave the filter out, or take empty."
        raise InvalidRequest([FieldProblem(("filter",), sentence, where="query")])
    headers = dict(response.headers)
    if LINES in accept:
        return await stream_answer_lines(backend, job, wanted, media_type=LINES, headers=headers)
    page = await render_answers(require_reader(backend), job, wanted, cursor=query.cursor, limit=query.limit)
    return PartsResponse(page, media_type="application/json", headers=headers)


def _require_files(job: JobSnapshot, query: SamplesQuery) -> StoredFiles:
    """Return what the job has left behind, or raise 404; 409 for a reader of answers, which are samples by now."""
    if job.status is JobStatus.COMPLETED and query.cursor is not None and is_answer_cursor(query.cursor):
        raise HTTPException(
            409, f"Job {job.name} has completed, and its samples are scored: read them from the beginning, no cursor."
        )
    if job.status is JobStatus.RUNNING and find_stored_files(job, job.document) is None:
        raise HTTPException(
            404, f"Job {job.name} has no samples: it is still running; live=true shows its answers so far"
        )
    return require_files(job, what="samples")


async def _make_selection(archive: Archive, files: StoredFiles, task: str, only: Filter | None) -> SampleSelection:
    how = None
    if only is Filter.WRONG and archive.results is not None:
        how = (await archive.results.get(files)).find_criteria(task)
    return SampleSelection(only, how)


async def _render_page(
    samples: SampleReader,
    wanted: WantedSamples,
    files: StoredFiles,
    query: SamplesQuery,
) -> list[bytes]:
    attempt = files.prefix.attempt
    try:
        start = decode_sample_cursor(query.cursor, attempt=attempt) if query.cursor is not None else Position()
        page = await read_within(PAGE_SECONDS, samples.read_page(wanted, start=start, limit=query.limit))
    except InvalidSampleCursor as error:
        sentence = "This is no cursor of these samples: take next_cursor of the page before, or leave it out."
        raise InvalidRequest([FieldProblem(("cursor",), sentence, where="query")]) from error
    return _join_page(page, attempt, counted=query.filter is Filter.WRONG)


def _join_page(page: SamplePageBuilder, attempt: int, *, counted: bool) -> list[bytes]:
    """Return the parts of the JSON: samples are neither parsed nor written anew."""
    rest: dict[str, Any] = {"next_cursor": encode_sample_cursor(attempt, page.next) if page.next is not None else None}
    if counted:
        rest["unjudged"] = page.unjudged
    return [b'{"samples":[', *intersperse(page.samples, b","), b"],", json.dumps(rest).encode()[1:]]


def _describe_tasks(files: StoredFiles) -> str:
    others = " and others" if len(files.tasks) > NAMED_TASKS or files.truncated else ""
    named = ", ".join(files.tasks[:NAMED_TASKS]) + others
    return f"it has those of {named}." if files.tasks else "it has none: it ran without log_samples, or ended before."
