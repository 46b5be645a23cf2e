"""GET /queue and /health."""

from datetime import UTC, datetime

from fastapi import APIRouter

from lmms_eval_api.routes.dependencies import FROM_CACHE, EvaluationsOf
from lmms_eval_core.schema import rfc3339
from lmms_eval_core.wire import HealthResponse, QueueStatusResponse

router = APIRouter(tags=["queue"], dependencies=FROM_CACHE)


@router.get("/queue")
async def get_queue(evaluations: EvaluationsOf) -> QueueStatusResponse:
    """The queued jobs in the order in which they start; those on hold are last."""
    overview = evaluations.cache.overview()
    return QueueStatusResponse(
        queue_size=len(overview.queued),
        running_job=overview.running,
        queued_jobs=overview.queued,
        completed_jobs=overview.completed,
        failed_jobs=overview.failed,
    )


@router.get("/health")
async def health(evaluations: EvaluationsOf) -> HealthResponse:
    """Whether jobs can be seen; kubelets ask /livez and /readyz."""
    return HealthResponse(timestamp=rfc3339(datetime.now(UTC)), queue_size=evaluations.cache.queue_size)
