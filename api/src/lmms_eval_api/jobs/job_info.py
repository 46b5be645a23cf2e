"""From a job to the responses of GET /jobs/{job_id} and GET /jobs, in the words of lmms-eval's own server. Pure."""

import logging
from functools import lru_cache
from typing import Any, Final

from pydantic.alias_generators import to_snake

from lmms_eval_api.jobs.identity import is_same_evaluation
from lmms_eval_api.jobs.snapshot import ENDED, UNREADABLE, JobSnapshot
from lmms_eval_api.jobs.submission import make_spec
from lmms_eval_core import names
from lmms_eval_core.kube.client import Object
from lmms_eval_core.phases import Phase, Reason
from lmms_eval_core.results_file import format_score
from lmms_eval_core.schema import Scalar
from lmms_eval_core.status import RESULTS_SUSPECT
from lmms_eval_core.wire import EvaluateRequest, JobGate, JobInfo, JobStatus, JobSummary, MainScore

# What lmms-eval's own server repeats of every request, whatever was sent.
ORIGINAL_FIELDS: Final = (
    *("model", "tasks", "model_args", "num_fewshot", "batch_size", "device", "limit", "gen_kwargs"),
    *("log_samples", "predict_only", "num_gpus", "output_dir"),
)
# Of a field that was not sent, its default is shown.
REQUEST_DEFAULTS: Final = {
    name: None if field.is_required() else field.default for name, field in EvaluateRequest.model_fields.items()
}
# Fields that are shown as they are now, whatever was sent.
CHANGEABLE_FIELDS: Final = ("priority", "hold", "ttl_seconds_after_finished", "keep")
# Maps whose keys the caller chooses: they are no field names.
NOT_A_SCALAR: Final = "(not a scalar)"
MAPS: Final = frozenset({"modelArgs", "nodeSelector"})
# The name in the log, which users search for; it does not follow the module.
log = logging.getLogger("lmms_eval_api.answers")
# The same few names are in every response.
_to_snake = lru_cache(maxsize=1024)(to_snake)


def make_job_info(job: JobSnapshot, *, position: int | None) -> JobInfo:
    """Return the response. Times are RFC 3339 in UTC with a Z.

    `position` is the number of jobs before it in the queue, None unless it is queued.
    """
    try:
        return _make_info(job, position)
    except Exception:
        # An object that cannot be shown must not end a list or a stream.
        log.exception("a job cannot be shown", extra={"evaluation": job.name})
    asked = _select_fields({"model": job.model, "tasks": list(job.tasks)})
    return JobInfo(request=asked, **_list_facts(job, position))


def _make_info(job: JobSnapshot, position: int | None) -> JobInfo:
    document = job.document
    status = document.get("status", {})
    doubts = _list_doubts(status)
    return JobInfo(
        job_id=job.name,
        status=job.status,
        created_at=job.created_at,
        started_at=status.get("startedAt"),
        completed_at=status.get("completedAt"),
        request=_repeat_request(document),
        error=_make_error(status) if job.status is JobStatus.FAILED else None,
        position_in_queue=position,
        reason=_read_reason(job, status),
        message=_read_message(job, status),
        priority=job.priority,
        hold=job.held,
        ttl_seconds_after_finished=document["spec"].get("ttlSecondsAfterFinished"),
        keep=bool(document["spec"].get("keep")),
        labels=dict(job.labels),
        progress=_convert_resumable(status.get("progress")),
        attempt=status.get("attempt"),
        attempts=[_convert_resumable(attempt) for attempt in status.get("attempts", [])],
        scores=status.get("scores"),
        summary=status.get("summary"),
        usage=_convert_keys(status.get("usage")),
        suspect=_convert_keys(status.get("suspect")) if doubts else None,
        warnings=doubts,
    )


def make_job_gate(job: JobSnapshot) -> JobGate | None:
    """Return what the gate of a job says; None for a job without one."""
    document = job.document
    if not document["spec"].get("gate"):
        return None
    found = document.get("status", {}).get("gate") or {}
    if job.status not in ENDED or not found:
        return JobGate(job_id=job.name, message="The job has not ended.")
    metrics = [_convert_keys(metric) for metric in found.get("metrics") or []]
    return JobGate(job_id=job.name, **{**found, "metrics": metrics})


def make_job_summary(job: JobSnapshot, *, position: int | None) -> JobSummary:
    """Return the short form, for lists."""
    try:
        return _make_summary(job, position)
    except Exception:
        log.exception("a job cannot be shown", extra={"evaluation": job.name})
    return JobSummary(model=job.model, tasks=list(job.tasks), **_list_facts(job, position))


def _make_summary(job: JobSnapshot, position: int | None) -> JobSummary:
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
        reason=_read_reason(job, status),
        message=_read_message(job, status),
        progress=_convert_resumable(status.get("progress")),
        summary=status.get("summary"),
        score=_find_main_score(status),
        suspect=bool(_list_doubts(status)),
        labels=dict(job.labels),
    )


def _find_main_score(status: Object) -> MainScore | None:
    """Return the score that the summary begins with; the object itself keeps no order of tasks and metrics."""
    summary: str = status.get("summary", "")
    found = [
        MainScore(task=task, metric=metric, value=score["value"], stderr=score.get("stderr"))
        for task, metrics in (status.get("scores") or {}).items()
        for metric, score in metrics.items()
        if score.get("value") is not None
    ]
    named = (score for score in found if _begins_with(summary, f"{score.task} {format_score(score.value)}"))
    return next(named, found[0] if found else None)


def _begins_with(summary: str, score: str) -> bool:
    """Whether a summary, which may be cut, begins with a score."""
    return f"{summary}, ".startswith(f"{score}, ") or (summary.endswith("…") and score.startswith(summary[:-1]))


def _list_facts(job: JobSnapshot, position: int | None) -> dict[str, Any]:
    """Return what is known of a job without reading its object."""
    return {
        "job_id": job.name,
        "status": job.status,
        "created_at": job.created_at,
        "priority": job.priority,
        "hold": job.held,
        "position_in_queue": position,
        "message": UNREADABLE,
    }


def _read_reason(job: JobSnapshot, status: Object) -> str:
    if job.status is JobStatus.CANCELLED:
        return Reason.CANCELLED_BY_USER
    return str(status.get("reason", Reason.WAITING_FOR_TURN))


def _read_message(job: JobSnapshot, status: Object) -> str | None:
    if job.status is JobStatus.CANCELLED and status.get("phase", Phase.QUEUED) == Phase.QUEUED:
        return "Cancelled before it started."
    message: str | None = status.get("message")
    return message


def _make_error(status: Object) -> str:
    """Return all that a client shows which shows nothing else: the reason, the sentence, the end of the log."""
    error = status.get("error", {})
    sentence = status.get("message") or error.get("message") or "The evaluation failed."
    tail = error.get("logTail", "")
    return f"{status.get('reason')}: {sentence}" + (f"\nLast lines of the log:\n{tail}" if tail else "")


def list_suspicions(status: Object) -> list[str]:
    """Return what the operator says against the scores of a completed run; a text may be empty."""
    found = (condition for condition in status.get("conditions", []) if condition["type"] == RESULTS_SUSPECT)
    return [str(condition.get("message", "")) for condition in found if condition["status"] == "True"]


def _list_doubts(status: Object) -> list[str]:
    messages = list_suspicions(status)
    return [f"The results are suspect: {message}." if message else "The results are suspect." for message in messages]


def _convert_keys(part: Object | None) -> Any:
    """Return a part of the status with the keys of the wire; its own maps (versions) keep their keys."""
    return {_to_snake(key): value for key, value in part.items()} if part else None


def _convert_resumable(part: Object | None) -> Any:
    """Return progress or an attempt with the keys of the wire, those of what it has from earlier attempts included."""
    converted = _convert_keys(part)
    if converted and "resumed" in converted:
        converted["resumed"] = _convert_keys(converted["resumed"])
    return converted


def _repeat_request(document: Object) -> dict[str, Any]:
    """Return the request that asks for what the object holds: as it was sent, where that still asks for the same."""
    own = make_request(document["spec"])
    sent = _read_sent_request(document)
    if sent is None:
        return own
    return _select_fields(sent) | {name: own[name] for name in CHANGEABLE_FIELDS if name in own}


def _read_sent_request(document: Object) -> dict[str, Any] | None:
    """Return the request in the annotation; None where it does not ask for this object, whoever wrote it."""
    metadata = document["metadata"]
    text = metadata.get("annotations", {}).get(names.ANNOTATION_REQUEST, "")
    try:
        request = EvaluateRequest.model_validate_json(text)
    except ValueError:
        return None
    if (
        not is_same_evaluation(make_spec(request).to_wire(), document["spec"])
        or not (request.labels or {}).items() <= metadata.get("labels", {}).items()
    ):
        return None
    if request.name not in (None, metadata["name"]):
        return None
    return request.model_dump(
        mode="json",
        exclude={*(request.model_extra or {}), *CHANGEABLE_FIELDS},
        exclude_none=True,
    )


def make_request(spec: Object) -> dict[str, Any]:
    """Return the request that asks for this spec, as far as a request can."""
    return _select_fields(_convert_names(spec) | {"num_gpus": spec.get("gpus", 1)})


def _convert_names(part: Any) -> Any:
    """Return a part of the resource in the words of a request."""
    if isinstance(part, dict):
        return {
            _to_snake(key): _keep_scalars(item) if key in MAPS else _convert_names(item) for key, item in part.items()
        }
    return [_convert_names(item) for item in part] if isinstance(part, list) else part


def _keep_scalars(values: Object) -> Object:
    """Return a map of scalars. Without our policies, modelArgs may hold values nested deeper than a response may be."""
    return {key: value if isinstance(value, Scalar | None) else NOT_A_SCALAR for key, value in values.items()}


def _select_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return lmms-eval's own fields, and of the others those that are not at their default."""
    always = {name: fields.get(name, REQUEST_DEFAULTS[name]) for name in ORIGINAL_FIELDS}
    return always | {
        name: value
        for name, value in fields.items()
        if value != REQUEST_DEFAULTS.get(name, value) and name not in ORIGINAL_FIELDS
    }
