"""GET /queue and /health."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from lmms_eval_api.routes.dependencies import WARN_IF_BEHIND, EvaluationsOf
from lmms_eval_core.schema import format_rfc3339
from lmms_eval_core.wire import HealthResponse, QueueStatusResponse

router = APIRouter(tags=["queue"], dependencies=WARN_IF_BEHIND)


@router.get("/queue", response_model=QueueStatusResponse)
async def get_queue(response: Response, evaluations: EvaluationsOf) -> Response:
    """The queued jobs in the order in which they start; those that wait for their next attempt or are
    on hold are last.
    """
    return Response(
        evaluations.cache.get_overview().response_body,
        media_type="application/json",
        headers=dict(response.headers),
    )


@router.get("/health")
async def health(evaluations: EvaluationsOf) -> HealthResponse:
    """Whether jobs can be seen; kubelets ask /livez and /readyz."""
    return HealthResponse(timestamp=format_rfc3339(datetime.now(UTC)), queue_size=evaluations.cache.queue_size)
