"""From a job to the answers of GET /jobs/{job_id} and GET /jobs, in the words of lmms-eval's own server. Pure."""

import logging
from functools import lru_cache
from typing import Any, Final

from pydantic.alias_generators import to_snake

from lmms_eval_api.jobs.identity import same_evaluation
from lmms_eval_api.jobs.snapshot import UNREADABLE, Job
from lmms_eval_api.jobs.submission import spec_of
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.schema import Scalar
from lmms_eval_core.status import RESULTS_SUSPECT
from lmms_eval_core.wire import EvaluateRequest, JobInfo, JobStatus, JobSummary

# What lmms-eval's own server repeats of a request, whatever was sent.
ALWAYS: Final = (
    *("model", "tasks", "model_args", "num_fewshot", "batch_size", "device", "limit", "gen_kwargs"),
    *("log_samples", "predict_only", "num_gpus", "output_dir"),
)
# Absent fields stand there with their defaults.
DEFAULTS: Final = {name: None if field.is_required() else field.default for name, field in EvaluateRequest.model_fields.items()}
# What is as it is now, whatever was sent.
CHANGING: Final = ("priority", "hold", "ttl_seconds_after_finished")
# Maps of the caller's own, whose keys are no field names.
NOT_A_SCALAR: Final = "(not a scalar)"
MAPS: Final = frozenset({"modelArgs", "nodeSelector"})
log = logging.getLogger("lmms_eval_api.answers")
# The same few names in every answer.
_to_snake = lru_cache(maxsize=1024)(to_snake)


def job_info(job: Job, *, position: int | None) -> JobInfo:
    """The answer. Times are RFC 3339 in UTC with a Z; `position` is the number of jobs before it, None unless queued."""
    try:
        return _job_info(job, position)
    except Exception:
        # What is odd about one object must not end a list or a stream.
        log.exception("a job cannot be shown", extra={"evaluation": job.name})
    asked = _known({"model": job.model, "tasks": list(job.tasks)})
    return JobInfo(request=asked, **_facts(job, position))


def _job_info(job: Job, position: int | None) -> JobInfo:
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
    try:
        return _job_summary(job, position)
    except Exception:
        log.exception("a job cannot be shown", extra={"evaluation": job.name})
    return JobSummary(model=job.model, tasks=list(job.tasks), **_facts(job, position))


def _job_summary(job: Job, position: int | None) -> JobSummary:
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


def _facts(job: Job, position: int | None) -> dict[str, Any]:
    """What is known of a job without a look into its object."""
    return {
        "job_id": job.name,
        "status": job.status,
        "created_at": job.created_at,
        "priority": job.priority,
        "hold": job.held,
        "position_in_queue": position,
        "message": UNREADABLE,
    }


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
    told = (condition.get("message", "") for condition in found if condition["status"] == "True")
    return [f"The results are suspect: {message}." if message else "The results are suspect." for message in told]


def _snake(part: Object | None) -> Any:
    """A part of the status in the spelling of the wire; its own maps (versions) keep their keys."""
    return {_to_snake(key): value for key, value in part.items()} if part else None


def _request(document: Object) -> dict[str, Any]:
    """The request that asks for what the object holds: in the words in which it was sent, where these still ask for that."""
    spec = document["spec"]
    own = request_of(spec)
    return own if (sent := _sent(document)) is None else _known(sent) | {name: own[name] for name in CHANGING if name in own}


def _sent(document: Object) -> dict[str, Any] | None:
    """The request that an annotation repeats; None where it does not ask for this object, whoever wrote it."""
    metadata = document["metadata"]
    text = metadata.get("annotations", {}).get(names.ANNOTATION_REQUEST, "")
    try:
        request = EvaluateRequest.model_validate_json(text)
    except ValueError:
        return None
    if (
        not same_evaluation(spec_of(request).to_wire(), document["spec"])
        or not (request.labels or {}).items() <= metadata.get("labels", {}).items()
    ):
        return None
    if request.name not in (None, metadata["name"]):
        return None
    return request.model_dump(mode="json", exclude={*(request.model_extra or {}), *CHANGING}, exclude_none=True)


def request_of(spec: Object) -> dict[str, Any]:
    """The request that asks for this spec, as far as a request can."""
    return _known(_wire_words(spec) | {"num_gpus": spec.get("gpus", 1)})


def _wire_words(part: Any) -> Any:
    """What the resource holds, in the words of a request."""
    if isinstance(part, dict):
        return {_to_snake(key): _plain(value) if key in MAPS else _wire_words(value) for key, value in part.items()}
    return [_wire_words(item) for item in part] if isinstance(part, list) else part


def _plain(values: Object) -> Object:
    """A map of scalars. Without our policies there may be more in modelArgs, nested deeper than an answer may be."""
    return {key: value if isinstance(value, Scalar | None) else NOT_A_SCALAR for key, value in values.items()}


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    """lmms-eval's own fields, and of the others those that say something."""
    always = {name: fields.get(name, DEFAULTS[name]) for name in ALWAYS}
    return always | {name: value for name, value in fields.items() if value != DEFAULTS.get(name, value) and name not in ALWAYS}
