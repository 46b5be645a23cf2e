"""GET /jobs/{job_id}/events, server-sent. FastAPI's own streams are left aside: they queue old events for slow readers."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from lmms_eval_api.artifacts.job_details import Viewed, located
from lmms_eval_api.artifacts.links import base_url
from lmms_eval_api.jobs.evaluations import Evaluations
from lmms_eval_api.jobs.feeds import Viewer, events
from lmms_eval_api.jobs.job_info import job_info
from lmms_eval_api.jobs.snapshot import Job
from lmms_eval_api.routes.dependencies import BackendOf, UpToDate
from lmms_eval_api.routes.jobs import found
from lmms_eval_api.routes.openapi import documented
from lmms_eval_core.kube import errors

router = APIRouter(tags=["jobs"])


class EventStream(StreamingResponse):
    """FastAPI takes over whatever is declared as its own EventSourceResponse."""

    media_type = "text/event-stream"


# Neither kept nor collected by proxies.
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=64, description="The last event that you have.")]


@router.get("/jobs/{job_id}/events", response_class=EventStream, responses=documented(404))
async def job_events(
    job_id: str, request: Request, backend: BackendOf, up_to_date: UpToDate, last_event_id: LastEventId = None
) -> EventStream:
    """The job as in GET /jobs/{job_id}, at once and after every change of it or of its place in the queue, until it has ended."""
    job = await found(job_id, backend.evaluations, up_to_date)
    viewer = viewer_at(base_url(request), last_event_id)

    async def gone(watched: Job) -> bool:
        return await is_gone(backend.evaluations, watched)

    return EventStream(events(backend.feeds, job, viewer, gone=gone), headers=HEADERS)


def viewer_at(base: str, last_id: str | None) -> Viewer:
    """A caller who sees the front end at this address, and links to it."""

    def render(job: Job, position: int | None) -> str:
        info = located(job_info(job, position=position), Viewed(job, job.document, base))
        return info.model_dump_json(exclude={"output", "samples"})

    return Viewer(last_id, render, base)


async def is_gone(evaluations: Evaluations, job: Job) -> bool:
    """Whether the API server says so; not while it says nothing."""
    try:
        present = await evaluations.find(job.name)
    except errors.KubeError:
        return False
    return present is None or present.uid != job.uid
