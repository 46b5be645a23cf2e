"""Python client of lmms-eval on Kubernetes; a drop-in for the client of lmms-eval's own HTTP server.

Start with `Client` or `AsyncClient`. What can go wrong is one tree, in `lmms_eval_client.errors`.
"""

from lmms_eval_client.aio import AsyncClient
from lmms_eval_client.client import Client
from lmms_eval_client.errors import (
    AnswerUnreadable,
    JobCancelled,
    JobFailed,
    JobNotCompleted,
    LmmsEvalError,
    NotAuthorized,
    NotFound,
    RequestInvalid,
    ServerBusy,
    ServerRefused,
    ServerUnreachable,
    WaitTimedOut,
)
from lmms_eval_client.results import Results
from lmms_eval_client.retries import Retries
from lmms_eval_core.status import Metric
from lmms_eval_core.wire import (
    EnvVar,
    EvaluateRequest,
    JobInfo,
    JobStatus,
    JobSubmitResponse,
    JobSummary,
    ModelList,
    Progress,
    QueueStatusResponse,
    Resources,
    SampleCard,
    SampleDetail,
    SecretKeyRef,
    TaskList,
    Toleration,
    Volume,
)
from lmms_eval_core.wire_comparison import JobComparison

# lmms-eval's own names.
EvalClient = Client
AsyncEvalClient = AsyncClient

__all__ = [
    "AnswerUnreadable",
    "AsyncClient",
    "AsyncEvalClient",
    "Client",
    "EnvVar",
    "EvalClient",
    "EvaluateRequest",
    "JobCancelled",
    "JobComparison",
    "JobFailed",
    "JobInfo",
    "JobNotCompleted",
    "JobStatus",
    "JobSubmitResponse",
    "JobSummary",
    "LmmsEvalError",
    "Metric",
    "ModelList",
    "NotAuthorized",
    "NotFound",
    "Progress",
    "QueueStatusResponse",
    "RequestInvalid",
    "Resources",
    "Results",
    "Retries",
    "SampleCard",
    "SampleDetail",
    "SecretKeyRef",
    "ServerBusy",
    "ServerRefused",
    "ServerUnreachable",
    "TaskList",
    "Toleration",
    "Volume",
    "WaitTimedOut",
]
