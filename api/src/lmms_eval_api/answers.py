"""From a job to the answer of GET /jobs/{job_id}, in the words of lmms-eval's own server. Pure."""

import json
from typing import Any

from pydantic.alias_generators import to_snake

from lmms_eval_api.job import Job
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.wire import EvaluateRequest, JobInfo, JobStatus

# Every field of a request, as the original repeats it: absent ones with their defaults.
REQUEST_DEFAULTS = {name: None if field.is_required() else field.default for name, field in EvaluateRequest.model_fields.items()}


def job_info(job: Job, *, position: int | None) -> JobInfo:
    """The answer. Times are RFC 3339 in UTC with a Z; `position` is the number of jobs before it, None unless queued."""
    document = job.document
    status = document.get("status", {})
    return JobInfo(
        job_id=job.name,
        status=job.status,
        created_at=job.created_at,
        started_at=status.get("startedAt"),
        completed_at=status.get("completedAt"),
        request=_request(document),
        error=_error(status) if job.status is JobStatus.FAILED else None,
        position_in_queue=position,
        reason=_reason(job, status),
        message=_message(job, status),
        priority=job.priority,
        hold=job.held,
        labels=document["metadata"].get("labels", {}),
        progress=_snake(status.get("progress")),
        attempt=status.get("attempt"),
        attempts=[_snake(attempt) for attempt in status.get("attempts", [])],
        scores=status.get("scores"),
        summary=status.get("summary"),
        usage=_snake(status.get("usage")),
    )


def _reason(job: Job, status: Object) -> str:
    if job.status is JobStatus.CANCELLED:
        return Reason.CANCELLED_BY_USER
    return str(status.get("reason", Reason.WAITING_FOR_TURN))


def _message(job: Job, status: Object) -> str | None:
    if job.status is JobStatus.CANCELLED and status.get("phase", Phase.QUEUED) == Phase.QUEUED:
        return "Cancelled before it started."
    message: str | None = status.get("message")
    return message


def _error(status: Object) -> str:
    """For people whose client shows them nothing else: the reason, the sentence, the end of the log."""
    error = status.get("error", {})
    sentence = status.get("message") or error.get("message") or "The evaluation failed."
    tail = error.get("logTail", "")
    return f"{status.get('reason')}: {sentence}" + (f"\nLast lines of the log:\n{tail}" if tail else "")


def _snake(part: Object | None) -> Any:
    """A part of the status in the spelling of the wire; its own maps (versions) keep their keys."""
    return {to_snake(key): value for key, value in part.items()} if part else None


def _request(document: Object) -> dict[str, Any]:
    """What was sent; for an object that came another way, the request that would have asked for it."""
    text = document["metadata"].get("annotations", {}).get(names.ANNOTATION_REQUEST, "")
    try:
        sent = json.loads(text) if text else None
    except ValueError:
        sent = None
    return request_of(document["spec"]) if not isinstance(sent, dict) else _known(sent)


def request_of(spec: Object) -> dict[str, Any]:
    """The request that asks for this spec, as far as a request can."""
    return _known({to_snake(key): value for key, value in spec.items()} | {"num_gpus": spec.get("gpus", 1)})


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: fields.get(name, default) for name, default in REQUEST_DEFAULTS.items()}
