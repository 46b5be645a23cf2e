"""Answers of jobs that have no samples, because they run or ended too soon: as pages, as lines, and as events.

GET /jobs/{job_id}/samples/{task} answers with them where `find_answers` finds any;
GET /jobs/{job_id}/samples/{task}/events follows them. Not in lmms-eval's own server.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Header, HTTPException, Query, Response

from lmms_eval_api.artifacts.answer_stream import AnswerFollower
from lmms_eval_api.artifacts.answers import AnswerPage, AnswerReader, PageLimits, WantedAnswers
from lmms_eval_api.artifacts.frames import InvalidSampleCursor
from lmms_eval_api.artifacts.journal_block import AnswerSelection
from lmms_eval_api.artifacts.journal_position import (
    MAX_CURSOR,
    JournalPosition,
    decode_answer_cursor,
    encode_answer_cursor,
)
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem, read_within
from lmms_eval_api.artifacts.stored_files import find_stored_files, list_asked_tasks, make_attempt_prefix
from lmms_eval_api.jobs.snapshot import ENDED, JobSnapshot
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import AbortableStream, hold_while_streaming, intersperse, start_stream
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.events import EventStream, is_deleted
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import explain_absence
from lmms_eval_core import layout
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire import JobStatus

router = APIRouter(tags=["files"])

EVENTS: Final = str(EventStream.media_type)
PAGE_SECONDS: Final = 30.0
# One piece of a whole download.
LINES_AT_ONCE: Final = PageLimits(answers=10_000, bytes=1024 * 1024)
NAMED_TASKS: Final = 20
NOT_LOGGED: Final = "it runs without log_samples"
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="`end_cursor` of a page: only what is new.")]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=MAX_CURSOR, description="The last event that you have."),
]


@router.get(
    "/jobs/{job_id}/samples/{task}/events",
    dependencies=FROM_CACHE,
    response_class=EventStream,
    responses=document_errors(404, 422, 501),
)
async def follow_answers(
    job_id: str,
    task: str,
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
    cursor: Cursor = None,
    last_event_id: LastEventId = None,
) -> Response:
    """The answers of a task, those so far and those to come, until the job has ended: events `answers`, whose data is a
    page of `LiveAnswer`s. Nothing in them is scored.
    """
    job = await find_job(job_id, backend.evaluations, up_to_date)
    reader = require_reader(backend)
    check_logged(job)
    after = last_event_id or cursor
    start = _read_cursor(after, job) if after else None

    async def is_gone(watched: JobSnapshot) -> bool:
        return await is_deleted(backend.evaluations, watched)

    follower = AnswerFollower(reader, start, lambda state: find_answers(state, task, only_empty=False, live=True))
    events = follower.stream(backend.feeds, job, is_gone=is_gone)
    try:
        content = await start_stream(await hold_while_streaming(backend.archive.follows, events))
    except StoreError as error:
        raise make_store_problem(error, _say_absence(job)) from error
    return AbortableStream(content, stopping=backend.stopping, media_type=EVENTS, headers=dict(response.headers))


def find_answers(job: JobSnapshot, task: str, *, only_empty: bool, live: bool) -> WantedAnswers | None:
    """Return which answers a request for samples means; None where the job has samples, or nothing.

    Of a job that runs, they have to be asked for by `live`.
    """
    document = job.document
    files = find_stored_files(job, document)
    attempt = document.get("status", {}).get("attempt") or 0
    has_samples = job.status is JobStatus.COMPLETED or (files is not None and (files.tasks or files.truncated))
    if has_samples or not attempt or not (live or job.status in ENDED):
        return None
    check_logged(job)
    selection = AnswerSelection(_find_task(job, task), only_empty)
    return WantedAnswers(make_attempt_prefix(job, document, attempt), selection)


def _find_task(job: JobSnapshot, task: str) -> str | None:
    """Return the task as its samples would be stored; None if it is all that was asked for, which may be a group."""
    wanted = layout.segment(task)
    return None if list_asked_tasks(job) == (wanted,) else wanted


def check_logged(job: JobSnapshot) -> None:
    """Raise 404 for a job that is not to keep samples."""
    if job.document["spec"].get("logSamples") is False:
        raise HTTPException(404, f"Job {job.name} has no samples: {NOT_LOGGED}")


def require_reader(backend: Backend) -> AnswerReader:
    """Return the reader of answers, or raise 501."""
    if backend.archive.answers is None:
        raise HTTPException(501, NO_STORE)
    return backend.archive.answers


async def render_answers(
    reader: AnswerReader, job: JobSnapshot, wanted: WantedAnswers, *, cursor: str | None, limit: int
) -> list[bytes]:
    """Return a page of answers as the parts of its JSON."""
    start = _read_cursor(cursor, job) if cursor is not None else wanted.beginning
    try:
        limits = PageLimits(answers=limit)
        page = await read_within(PAGE_SECONDS, reader.read_page(wanted, start=start, limits=limits))
    except StoreError as error:
        raise make_store_problem(error, _say_absence(job)) from error
    if cursor is None and job.status in ENDED and not page.is_full:
        _check_present(job, wanted, page)
    here = encode_answer_cursor(page.position)
    rest = {"next_cursor": here if page.is_full else None, "partial": True, "end_cursor": here}
    return [b'{"samples":[', *intersperse(page.answers, b","), b"],", json.dumps(rest).encode()[1:]]


async def stream_answer_lines(
    backend: Backend, job: JobSnapshot, wanted: WantedAnswers, *, media_type: str, headers: Mapping[str, str]
) -> Response:
    """Return all answers so far, one a line."""
    lines = _iterate_lines(require_reader(backend), wanted)
    try:
        content = await start_stream(await hold_while_streaming(backend.archive.downloads, lines))
    except StoreError as error:
        raise make_store_problem(error, _say_absence(job)) from error
    return AbortableStream(content, stopping=backend.stopping, media_type=media_type, headers=headers)


async def _iterate_lines(reader: AnswerReader, wanted: WantedAnswers) -> AsyncGenerator[bytes, None]:
    position, is_full = wanted.beginning, True
    while is_full:
        page = await reader.read_page(wanted, start=position, limits=LINES_AT_ONCE)
        position, is_full = page.position, page.is_full
        yield b"".join(answer + b"\n" for answer in page.answers)


def _read_cursor(cursor: str, job: JobSnapshot) -> JournalPosition:
    try:
        position = decode_answer_cursor(cursor)
        if position.attempt > (job.document.get("status", {}).get("attempt") or 0):
            raise InvalidSampleCursor
    except InvalidSampleCursor as error:
        sentence = "This is no cursor of these answers: take end_cursor of a page or the id of an event, or none."
        raise InvalidRequest([FieldProblem(("cursor",), sentence, where="query")]) from error
    return position


def _check_present(job: JobSnapshot, wanted: WantedAnswers, page: AnswerPage) -> None:
    """Raise 404 for a job that has ended without answers, or a task that it does not have."""
    if not page.tasks:
        raise HTTPException(404, _say_absence(job))
    task = wanted.selection.task
    if task is not None and task not in page.tasks | page.run_tasks:
        tasks = sorted(page.tasks)
        named = ", ".join(tasks[:NAMED_TASKS]) + (" and others" if len(tasks) > NAMED_TASKS else "")
        raise HTTPException(404, f"Job {job.name} has no answers of {task}; it has those of {named}.")


def _say_absence(job: JobSnapshot) -> str:
    return f"Job {job.name} has no samples: {explain_absence(job)}"
