"""GET /jobs/{job_id}/events, server-sent. Not by FastAPI's own streams, which queue old events for slow readers."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from lmms_eval_api.addresses import read_base_url
from lmms_eval_api.artifacts.job_details import JobView, add_links
from lmms_eval_api.jobs.evaluations import EvaluationService
from lmms_eval_api.jobs.feeds import EventViewer, stream_events
from lmms_eval_api.jobs.job_info import make_job_info
from lmms_eval_api.jobs.snapshot import JobSnapshot
from lmms_eval_api.routes.dependencies import BackendOf, UpToDate
from lmms_eval_api.routes.jobs import find_job
from lmms_eval_api.routes.openapi import document_errors
from lmms_eval_core.kube import errors

router = APIRouter(tags=["jobs"])


class EventStream(StreamingResponse):
    """A response of our own, as FastAPI takes over every route that declares its EventSourceResponse."""

    media_type = "text/event-stream"


# Proxies are neither to store nor to buffer it.
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=64, description="The last event that you have."),
]


@router.get("/jobs/{job_id}/events", response_class=EventStream, responses=document_errors(404))
async def job_events(
    job_id: str, request: Request, backend: BackendOf, up_to_date: UpToDate, last_event_id: LastEventId = None
) -> EventStream:
    """The job as in GET /jobs/{job_id}, at once and after every change of it or of its place in the queue, until it has
    ended.
    """
    job = await find_job(job_id, backend.evaluations, up_to_date)
    viewer = make_viewer(read_base_url(request), last_event_id)

    async def is_gone(watched: JobSnapshot) -> bool:
        return await is_deleted(backend.evaluations, watched)

    return EventStream(stream_events(backend.feeds, job, viewer, is_gone=is_gone), headers=HEADERS)


def make_viewer(base: str, last_id: str | None) -> EventViewer:
    """Return a viewer with this base URL, on which the links in its events are built."""

    def render(job: JobSnapshot, position: int | None) -> str:
        info = add_links(make_job_info(job, position=position), JobView(job, job.document, base))
        return info.model_dump_json(exclude={"output", "samples"})

    return EventViewer(last_id, render, base)


async def is_deleted(evaluations: EvaluationService, job: JobSnapshot) -> bool:
    """Whether the API server says that the job is gone; False while it does not answer."""
    try:
        present = await evaluations.find(job.name)
    except errors.KubeError:
        return False
    return present is None or present.uid != job.uid
