"""From a job to the answers of GET /jobs/{job_id} and GET /jobs, in the words of lmms-eval's own server. Pure."""

import json
from functools import lru_cache
from typing import Any, Final

from pydantic.alias_generators import to_snake

from lmms_eval_api.job import Job
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.status import RESULTS_SUSPECT
from lmms_eval_core.wire import EvaluateRequest, JobInfo, JobStatus, JobSummary

# What lmms-eval's own server repeats of a request, whatever was sent.
ALWAYS: Final = (
    *("model", "tasks", "model_args", "num_fewshot", "batch_size", "device", "limit", "gen_kwargs"),
    *("log_samples", "predict_only", "num_gpus", "output_dir"),
)
# Absent fields stand there with their defaults.
DEFAULTS: Final = {name: None if field.is_required() else field.default for name, field in EvaluateRequest.model_fields.items()}
# Maps of the caller's own, whose keys are no field names.
MAPS: Final = frozenset({"modelArgs", "nodeSelector"})
# The same few names in every answer.
_to_snake = lru_cache(maxsize=1024)(to_snake)


def job_info(job: Job, *, position: int | None) -> JobInfo:
    """The answer. Times are RFC 3339 in UTC with a Z; `position` is the number of jobs before it, None unless queued."""
    document = job.document
    status = document.get("status", {})
    doubts = _doubts(status)
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
        ttl_seconds_after_finished=document["spec"].get("ttlSecondsAfterFinished"),
        labels=dict(job.labels),
        progress=_snake(status.get("progress")),
        attempt=status.get("attempt"),
        attempts=[_snake(attempt) for attempt in status.get("attempts", [])],
        scores=status.get("scores"),
        summary=status.get("summary"),
        usage=_snake(status.get("usage")),
        suspect=_snake(status.get("suspect")) if doubts else None,
        warnings=doubts,
    )


def job_summary(job: Job, *, position: int | None) -> JobSummary:
    """The same in short, for a list of many."""
    status = job.document.get("status", {})
    return JobSummary(
        job_id=job.name,
        status=job.status,
        created_at=job.created_at,
        started_at=status.get("startedAt"),
        completed_at=status.get("completedAt"),
        model=job.model,
        tasks=list(job.tasks),
        priority=job.priority,
        hold=job.held,
        position_in_queue=position,
        reason=_reason(job, status),
        message=_message(job, status),
        progress=_snake(status.get("progress")),
        summary=status.get("summary"),
        labels=dict(job.labels),
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


def _doubts(status: Object) -> list[str]:
    """What the operator says against the scores of a completed run."""
    found = (condition for condition in status.get("conditions", []) if condition["type"] == RESULTS_SUSPECT)
    return [f"The results are suspect: {condition['message']}." for condition in found if condition["status"] == "True"]


def _snake(part: Object | None) -> Any:
    """A part of the status in the spelling of the wire; its own maps (versions) keep their keys."""
    return {_to_snake(key): value for key, value in part.items()} if part else None


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
    return _known(_wire_words(spec) | {"num_gpus": spec.get("gpus", 1)})


def _wire_words(part: Any) -> Any:
    """What the resource holds, in the words of a request."""
    if isinstance(part, dict):
        return {_to_snake(key): value if key in MAPS else _wire_words(value) for key, value in part.items()}
    return [_wire_words(item) for item in part] if isinstance(part, list) else part


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """lmms-eval's own fields, and of the others those that say something."""
    always = {name: fields.get(name, DEFAULTS[name]) for name in ALWAYS}
    return always | {name: value for name, value in fields.items() if value != DEFAULTS.get(name, value) and name not in ALWAYS}
