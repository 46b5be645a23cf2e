"""GET /events: one stream for a page that shows many jobs, as browsers allow few connections to one host."""

import re
from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request

from lmms_eval_api.jobs.page_stream import PageReader
from lmms_eval_api.routes.dependencies import FROM_CACHE, BackendOf, read_version_cookie, write_version_cookie
from lmms_eval_api.routes.events import HEADERS, EventStream, LastEventId

router = APIRouter(tags=["jobs"])

MAX_JOBS: Final = 100
Jobs = Annotated[Sequence[str], Query(max_length=MAX_JOBS, description="Only these jobs; the queue is whole.")]
Queue = Annotated[bool, Query(description="Whether to send the queue.")]


@router.get("/events", response_class=EventStream, dependencies=FROM_CACHE)
async def page_events(
    request: Request, backend: BackendOf, job: Jobs = (), queue: Queue = True, last_event_id: LastEventId = None
) -> EventStream:
    """Events for a page of many jobs. `ready` has the revision that a list must have reached, and whether what was
    missed since Last-Event-ID follows (`resumed`); if not, load the list after it. Then `job` with an item of GET /jobs
    after each change, `removed` with a `job_id`, and `queue` with the first 500 in the queue.
    """
    reader = PageReader(frozenset(job), queue, _read_version(last_event_id))
    response = EventStream(backend.page_streams.stream(reader), headers=HEADERS)
    # Whichever replica answers then, the list is no older than the stream.
    write_version_cookie(request, response, max(backend.reflector.version, read_version_cookie(request.cookies)))
    return response


def _read_version(last_id: str | None) -> int | None:
    return int(last_id) if last_id is not None and re.fullmatch("[0-9]{1,19}", last_id) else None
