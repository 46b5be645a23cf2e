"""HTTP requests and answers of the front end, in the words of lmms-eval's own server; converters to the resource live in the api.

Field names, defaults and coercions are upstream's (`lmms_eval/entrypoints/protocol.py`, 0.7.3); what is added is optional.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class JobStatus(StrEnum):
    """States of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EvaluateRequest(BaseModel):
    """Body of POST /evaluate. Unknown fields are kept, so that the answer can name them."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    tasks: list[str]
    model_args: dict[str, Any] | None = None
    num_fewshot: int | None = None
    batch_size: int | str | None = None
    device: str | None = None
    limit: int | float | None = None
    gen_kwargs: str | None = None
    log_samples: bool = True
    predict_only: bool = False
    num_gpus: int = 1
    output_dir: str | None = None
    include_path: str | None = Field(default=None, description="Beyond upstream: folder of custom tasks.")
    priority: int = Field(default=0, description="Beyond upstream: higher starts first.")


class JobSubmitResponse(BaseModel):
    """Answer of POST /evaluate."""

    job_id: str
    status: JobStatus = JobStatus.QUEUED
    position_in_queue: int
    message: str = ""
    warnings: list[str] = Field(default_factory=list)


class JobInfo(BaseModel):
    """Answer of GET /jobs/{job_id}; all keys always present."""

    job_id: str
    status: JobStatus
    created_at: str
    started_at: str | None = None
    completed_at: str | None = None
    request: dict[str, Any]
    result: dict[str, Any] | None = None
    error: str | None = None
    position_in_queue: int | None = None
    reason: str | None = Field(default=None, description="Beyond upstream: one word, as in kubectl get.")
    message: str | None = Field(default=None, description="Beyond upstream: one sentence.")
    progress: dict[str, Any] | None = Field(default=None, description="Beyond upstream: stage, completed, total, ...")
    scores: dict[str, Any] | None = Field(default=None, description="Beyond upstream: task: metric: {value, stderr}.")


class QueueStatusResponse(BaseModel):
    """Answer of GET /queue."""

    queue_size: int
    running_job: str | None = None
    queued_jobs: list[str] = Field(default_factory=list)
    completed_jobs: int = 0
    failed_jobs: int = 0


class HealthResponse(BaseModel):
    """Answer of GET /health."""

    status: str = "healthy"
    timestamp: str
    queue_size: int


class CancelResponse(BaseModel):
    """Answer of DELETE /jobs/{job_id}."""

    message: str
