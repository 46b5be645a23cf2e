"""GET /jobs/{job_id}/explore/{task} and /jobs/{job_id}/samples/{task}/{doc_id}, by the index of a task's samples.

Not in lmms-eval's own server.
"""

import base64
import binascii
import json
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from lmms_eval_api.artifacts.frames import InvalidSampleCursor
from lmms_eval_api.artifacts.sample_index import (
    NOT_INDEXED,
    SORT_COLUMNS,
    CardPage,
    CardPosition,
    CardQuery,
    CardWindow,
    OpenIndex,
    SampleIndexReader,
    UnknownColumn,
)
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem, read_within
from lmms_eval_api.artifacts.stored_files import StoredFiles
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import PartsResponse, intersperse
from lmms_eval_api.routes.dependencies import FROM_CACHE, Backend, BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_api.routes.results import require_files
from lmms_eval_core import layout
from lmms_eval_core.sample_index.format import MAX_ROWS
from lmms_eval_core.sample_index.reader import Condition, parse_condition
from lmms_eval_core.sample_scoring import SampleFlag
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.wire import SampleCardPage, SampleDetail

router = APIRouter(tags=["files"])

PAGE_SECONDS: Final = 30.0
MAX_CURSOR: Final = 100
_CURSOR: Final = re.compile(r"(\d{1,9})\.(\d{1,7})\.(\d{1,15})\.(\d{1,15})")


class ExploreQuery(BaseModel):
    """Which cards, in which order, and which page of them."""

    filter: SampleFlag | None = Field(
        default=None,
        description="`wrong` and `empty` as for the pages of samples. `right`: judged and not wrong. `failed`: the "
        "answer is an error marker of the harness. `truncated`: as many tokens as the task allows an answer.",
    )
    metric: list[Annotated[str, Field(max_length=250)]] = Field(
        default_factory=list, max_length=4, description="A condition on a metric's value, as `acc<0.5`; all must hold."
    )
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="A text in prompt, target or answer, in upper or lower case. One request searches 64 MiB.",
    )
    sort: str | None = Field(
        default=None, max_length=201, description="A metric, `tokens` or `length`; with `-` before it, largest first."
    )
    cursor: str | None = Field(default=None, max_length=MAX_CURSOR, description="`next_cursor` of the page before.")
    around: int | None = Field(
        default=None,
        ge=0,
        le=MAX_ROWS,
        description="A `row`: of the pages of `limit` cards, the one that has it, or where it would be.",
    )
    place: int | None = Field(
        default=None,
        ge=0,
        le=MAX_ROWS,
        description="Go on behind so many cards: `place` of another page, more or less.",
    )
    limit: int = Field(default=50, ge=1, le=200)


@router.get(
    "/jobs/{job_id}/explore/{task}",
    dependencies=FROM_CACHE,
    response_model=SampleCardPage,
    responses=document_errors(404, 501, 502),
)
async def explore_samples(
    job_id: str,
    task: str,
    query: Annotated[ExploreQuery, Query()],
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
) -> Response:
    """Cards of a task's samples, filtered, searched and sorted, with counts of what can be filtered."""
    wanted = _read_query(query)
    job = await find_job(job_id, backend.evaluations, up_to_date)
    files = require_files(job, what="samples")
    start = _read_start(query, files.prefix.attempt)
    indexes, index = await open_index(backend, job.name, files, task)
    try:
        if isinstance(start, CardWindow):
            reading = indexes.read_window(index, wanted, start, query.limit)
        else:
            reading = indexes.read_page(index, wanted, start, query.limit)
        page = await read_within(PAGE_SECONDS, reading)
    except StoreError as error:
        raise make_store_problem(error, _say_missing(job.name, task)) from error
    except UnknownColumn as error:
        raise _make_unknown(index, str(error), wanted) from error
    except InvalidSampleCursor as error:
        raise _make_invalid_cursor() from error
    headers = dict(response.headers)
    return PartsResponse(_render(page, index, files.prefix.attempt), media_type="application/json", headers=headers)


@router.get(
    "/jobs/{job_id}/samples/{task}/{doc_id}",
    dependencies=FROM_CACHE,
    response_model=SampleDetail,
    responses=document_errors(404, 501, 502),
)
async def job_sample(
    job_id: str,
    task: str,
    doc_id: str,
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
    filter_name: Annotated[
        str | None, Query(max_length=200, description="The filter of the answer, where the task has several.")
    ] = None,
) -> Response:
    """One sample, whole, and its card."""
    job = await find_job(job_id, backend.evaluations, up_to_date)
    files = require_files(job, what="samples")
    indexes, index = await open_index(backend, job.name, files, task)
    for document in _list_documents(doc_id):
        try:
            found = await read_within(PAGE_SECONDS, indexes.read_sample(index, document, filter_name))
        except LookupError:
            continue
        except StoreError as error:
            raise make_store_problem(error, _say_missing(job.name, task)) from error
        parts = [b'{"card":', found.card, b',"sample":', found.sample, b"}"]
        return PartsResponse(parts, media_type="application/json", headers=dict(response.headers))
    of_filter = f" and the filter {filter_name}" if filter_name is not None else ""
    raise HTTPException(404, f"Job {job.name} has no sample of {task} with the doc_id {doc_id}{of_filter}.")


async def open_index(backend: Backend, job: str, files: StoredFiles, task: str) -> tuple[SampleIndexReader, OpenIndex]:
    """Return the index of a task's samples; 404 with the pages that exist where there is none."""
    indexes = backend.archive.indexes
    if indexes is None:
        raise HTTPException(501, NO_STORE)
    samples = layout.sample_file(task)
    if samples not in files.files and not files.truncated:
        raise HTTPException(404, f"Job {job} has no samples of {task}.")
    try:
        key = files.prefix.file(layout.index_file(samples))
        index = await indexes.open(key, samples=files.prefix.file(samples))
    except ObjectMissing as error:
        raise HTTPException(404, _say_missing(job, task)) from error
    except StoreError as error:
        raise make_store_problem(error, "") from error
    if index.header.omitted:
        raise HTTPException(404, _say_missing(job, task, index.header.omitted))
    return indexes, index


def _say_missing(job: str, task: str, why: str = NOT_INDEXED) -> str:
    return (
        f"The samples of {task} of job {job} are not indexed: {why}. "
        f"Read them page by page: GET /jobs/{job}/samples/{layout.segment(task)}."
    )


def _read_query(query: ExploreQuery) -> CardQuery:
    if query.q is not None and query.sort is not None:
        raise _make_problem("sort", "A search goes through the samples in their order: leave out q, or sort.")
    starts = [name for name in ("cursor", "around", "place") if getattr(query, name) is not None]
    if len(starts) > 1:
        raise _make_problem(starts[1], "A page begins at one place: give only one of cursor, around and place.")
    if query.q is not None and starts and starts != ["cursor"]:
        raise _make_problem(starts[0], "Nobody has counted what a search finds: follow its next_cursor.")
    sort, descending = query.sort, False
    if sort is not None and sort.startswith("-"):
        sort, descending = sort[1:], True
    conditions = tuple(map(_read_condition, query.metric))
    return CardQuery(query.filter, conditions, sort, descending, query.q)


def _read_start(query: ExploreQuery, attempt: int) -> CardPosition | CardWindow:
    if query.around is not None:
        return CardWindow(around=query.around)
    if query.place is not None:
        return CardWindow(query.place)
    return _decode_cursor(query.cursor, attempt) if query.cursor is not None else CardPosition()


def _read_condition(text: str) -> Condition:
    found = parse_condition(text)
    if found is None:
        raise _make_problem("metric", "This is no condition: give a metric, one of < <= > >= = !=, and a number.")
    return found


def _make_unknown(index: OpenIndex, name: str, wanted: CardQuery) -> InvalidRequest:
    field = "sort" if name == wanted.sort else "metric"
    further = SORT_COLUMNS if field == "sort" else ()
    names = ", ".join([*(metric.name for metric in index.header.metrics), *further])
    known = f"there are {names}" if names else "there is none"
    return _make_problem(field, f"The samples of this task have no such number; {known}.")


def _list_documents(text: str) -> list[int | str]:
    """Return the documents that a path may mean: most have a number."""
    return [int(text), text] if re.fullmatch(r"[0-9]{1,18}", text) else [text]


def _decode_cursor(cursor: str, attempt: int) -> CardPosition:
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[1]) != attempt:
        raise _make_invalid_cursor()
    return CardPosition(int(found[2]), int(found[3]), int(found[4]))


def _encode_cursor(attempt: int, position: CardPosition) -> str:
    text = ".".join(map(str, (attempt, *position)))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _make_invalid_cursor() -> InvalidRequest:
    return _make_problem("cursor", "This is no cursor of these cards: take next_cursor of the page before, or none.")


def _make_problem(field: str, sentence: str) -> InvalidRequest:
    return InvalidRequest([FieldProblem((field,), sentence, where="query")])


def _render(page: CardPage, index: OpenIndex, attempt: int) -> list[bytes]:
    header = index.header
    counts: dict[str, int | None] = {flag.value: header.count(flag) for flag in SampleFlag}
    if not header.knows_truncated:
        counts["truncated"] = None
    rest: dict[str, Any] = {
        "total": header.rows,
        "matched": page.matched,
        "scanned": page.scanned,
        "place": page.place,
        "next_cursor": _encode_cursor(attempt, page.next) if page.next is not None else None,
        "counts": counts | {"unjudged": header.rows - header.count(SampleFlag.WRONG) - header.count(SampleFlag.RIGHT)},
        "metrics": [metric.name for metric in header.metrics],
    }
    return [b'{"cards":[', *intersperse(page.cards, b","), b"],", json.dumps(rest).encode()[1:]]
