"""GET /jobs/{job_id}/compare/{task}: the samples that changed against another job. Not in lmms-eval's own server.

The caller needs `get` on both jobs (`auth.attributes`).
"""

import json
from array import array
from bisect import bisect_left
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from lmms_eval_api.artifacts.comparison import FlipQuery
from lmms_eval_api.artifacts.sample_index import OpenIndex, SampleIndexReader
from lmms_eval_api.artifacts.store import NO_STORE, make_store_problem, read_within
from lmms_eval_api.problems import FieldProblem, InvalidRequest
from lmms_eval_api.responses import PartsResponse, intersperse
from lmms_eval_api.routes.compare import COMPARE_SECONDS, find_completed
from lmms_eval_api.routes.dependencies import FROM_CACHE, BackendOf, UpToDate
from lmms_eval_api.routes.explore import open_index
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.compare.flips import FlipKind, PairedRows
from lmms_eval_core.sample_index.format import MAX_ROWS
from lmms_eval_core.store.errors import StoreError
from lmms_eval_core.wire_comparison import ComparedSamplePage

router = APIRouter(tags=["files"])

MISSING: Final = "The samples of one of these jobs are not in the object store any more."
_WIDTH: Final = array("I").itemsize


class ComparedSamplesQuery(BaseModel):
    """Which samples, and which page of them."""

    baseline: str = Field(description="The job to compare with.")
    flip: FlipKind = Field(
        description="`lost`: the value is worse than the baseline's. `won`: it is better. `both_wrong`: both are wrong."
    )
    metric: str | None = Field(default=None, max_length=200, description="Whose value; else the first one's.")
    filter: str | None = Field(default=None, max_length=200, description="Of lmms-eval; else the task's first one.")
    place: int = Field(default=0, ge=0, le=MAX_ROWS, description="Go on behind so many samples.")
    around: int | None = Field(
        default=None,
        ge=0,
        le=MAX_ROWS,
        description="A `row` of the candidate: of the pages of `limit` samples, the one that has it, or would have.",
    )
    limit: int = Field(default=50, ge=1, le=100)


@router.get(
    "/jobs/{job_id}/compare/{task}",
    dependencies=FROM_CACHE,
    response_model=ComparedSamplePage,
    responses=document_errors(404, 409, 501, 502),
)
async def list_compared_samples(
    job_id: str,
    task: str,
    query: Annotated[ComparedSamplesQuery, Query()],
    response: Response,
    backend: BackendOf,
    up_to_date: UpToDate,
) -> Response:
    """The samples of a task that changed against the baseline, with the cards of both, in the order of the job's."""
    comparer = backend.archive.comparisons
    if comparer is None:
        raise HTTPException(501, NO_STORE)
    jobs = [await find_completed(name, backend, up_to_date=up_to_date) for name in (query.baseline, job_id)]
    opened = [await open_index(backend, found.job.name, found.files, task) for found in jobs]
    (indexes, baseline), (_, candidate) = opened
    wanted = _read_wanted(query, candidate)
    try:
        found = await read_within(COMPARE_SECONDS, comparer.find_flips((baseline, candidate), wanted))
        place = _find_start(found[query.flip], query)
        page = _Page(found[query.flip], place, query.limit)
        cards = await read_within(COMPARE_SECONDS, _read_cards(indexes, (baseline, candidate), page))
    except LookupError as error:
        raise _make_unknown(wanted) from error
    except StoreError as error:
        raise make_store_problem(error, MISSING) from error
    rest: dict[str, Any] = {
        "metric": wanted.metric,
        "filter": wanted.filter_name,
        "counts": {flip.value: len(rows.candidate) // _WIDTH for flip, rows in found.items()},
        "matched": page.matched,
        "place": place,
    }
    parts = [b'{"samples":[', *intersperse(cards, b","), b"],", json.dumps(rest).encode()[1:]]
    return PartsResponse(parts, media_type="application/json", headers=dict(response.headers))


class _Page:
    """The rows of a page in either run."""

    def __init__(self, rows: PairedRows, place: int, limit: int) -> None:
        part = slice(place * _WIDTH, (place + limit) * _WIDTH)
        self.matched = len(rows.candidate) // _WIDTH
        self.sides = [list(_unpack(side[part])) for side in rows]


def _unpack(packed: bytes) -> "array[int]":
    rows = array("I")
    rows.frombytes(packed)
    return rows


def _find_start(rows: PairedRows, query: ComparedSamplesQuery) -> int:
    if query.around is None:
        return query.place
    candidate = _unpack(rows.candidate)
    place = min(bisect_left(candidate, query.around), max(len(candidate) - 1, 0))
    return place - place % query.limit


async def _read_cards(indexes: SampleIndexReader, pair: tuple[OpenIndex, OpenIndex], page: _Page) -> list[bytes]:
    """Return each ComparedSample as JSON."""
    old, new = [await indexes.read_rows(index, rows) for index, rows in zip(pair, page.sides, strict=True)]
    return [b'{"baseline":%s,"candidate":%s}' % cards for cards in zip(old, new, strict=True)]


def _read_wanted(query: ComparedSamplesQuery, candidate: OpenIndex) -> FlipQuery:
    header = candidate.header
    metric = query.metric if query.metric is not None else next((metric.name for metric in header.metrics), "")
    return FlipQuery(metric, query.filter if query.filter is not None else next(iter(header.filters), ""))


def _make_unknown(wanted: FlipQuery) -> InvalidRequest:
    sentence = (
        f"The samples of one of these jobs have no values of {wanted.metric} with the filter {wanted.filter_name}."
    )
    return InvalidRequest([FieldProblem(("metric",), sentence, where="query")])
