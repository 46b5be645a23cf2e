"""The errors of the client, as one tree:

    LmmsEvalError
    ├── ServerUnreachable      no answer: address, network, TLS, time-out       also httpx.TransportError
    ├── AnswerUnreadable       an answer that is none of an lmms-eval server
    ├── ServerRefused          an answer of 3xx, 4xx or 5xx                     also httpx.HTTPStatusError
    │   ├── NotAuthorized      401, 403
    │   ├── NotFound           404
    │   ├── RequestInvalid     400, 409, 422
    │   └── ServerBusy         429, 502, 503, 504, after the last retry
    ├── JobNotCompleted        the end of a wait without results                also RuntimeError
    │   ├── JobFailed
    │   └── JobCancelled
    └── WaitTimedOut           the wait ended, the job goes on                  also TimeoutError

The second bases are what lmms-eval's own client raises: code that catches those keeps working. There a cancelled job
ends no wait at all; here it does, as the RuntimeError that callers of `wait_for_job` are prepared for.
"""

from typing import Any

import httpx

from lmms_eval_core.json_text import parse_json
from lmms_eval_core.wire import JobInfo

MAX_SHOWN = 300


class LmmsEvalError(Exception):
    """Base of everything that this package raises on purpose; its text is a sentence for a person."""


class ServerUnreachable(LmmsEvalError, httpx.TransportError):
    """The server gave no answer, or broke off in the middle of one."""


class AnswerUnreadable(LmmsEvalError):
    """Something answered that does not speak like an lmms-eval server."""


class ServerRefused(LmmsEvalError, httpx.HTTPStatusError):
    """The server answered with a problem: `detail` is its own sentence, `problem` its whole answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.problem = _read_problem(response)
        self.detail = _find_detail(self.problem, response)
        self.status_code = response.status_code
        self.request_id = response.headers.get("X-Request-ID", "")
        super().__init__(f"{self.detail} (HTTP {response.status_code})", request=response.request, response=response)


class NotAuthorized(ServerRefused):
    """No token, a wrong one, or one without the right."""


class NotFound(ServerRefused):
    """There is no such job, or not yet what was asked of it."""


class RequestInvalid(ServerRefused):
    """The request cannot be fulfilled as it is."""


class ServerBusy(ServerRefused):
    """Too many requests, or the server is not able to answer at the moment."""


class JobNotCompleted(LmmsEvalError, RuntimeError):
    """A job ended without results; `job` is its last state."""

    def __init__(self, text: str, job: JobInfo) -> None:
        super().__init__(text)
        self.job = job


class JobFailed(JobNotCompleted):
    """The job failed; the text is the one of lmms-eval's own client."""

    def __init__(self, job: JobInfo) -> None:
        super().__init__(f"Job failed: {job.error or job.message or 'Unknown error'}", job)


class JobCancelled(JobNotCompleted):
    """The job was cancelled."""

    def __init__(self, job: JobInfo) -> None:
        super().__init__(f"Job cancelled: {job.message or job.job_id}", job)


class WaitTimedOut(LmmsEvalError, TimeoutError):
    """The caller's time is up. The job is still there."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Timeout waiting for job {job_id}")


BY_STATUS: dict[int, type[ServerRefused]] = {
    **dict.fromkeys((400, 409, 422), RequestInvalid),
    **dict.fromkeys((401, 403), NotAuthorized),
    404: NotFound,
    **dict.fromkeys((429, 502, 503, 504), ServerBusy),
}


def make_refusal(response: httpx.Response) -> ServerRefused:
    """Return the error for an answer that is no success; its body must have been read."""
    return BY_STATUS.get(response.status_code, ServerRefused)(response)


def make_unreachable_error(error: httpx.TransportError, address: str) -> ServerUnreachable:
    """Return the error for an answer that did not come."""
    cause = str(error) or type(error).__name__
    return ServerUnreachable(
        f"No answer from {address}: {cause}. Is the address right, and the server up?", request=error.request
    )


def _read_problem(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = parse_json(response.content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _find_detail(problem: dict[str, Any], response: httpx.Response) -> str:
    if response.is_redirect:
        return f"The server redirects to {response.headers.get('Location')}: use that address instead"
    detail = problem.get("detail")
    if isinstance(detail, list):
        return "; ".join(_format_field(entry) for entry in detail)
    return str(detail) if detail else response.text[:MAX_SHOWN].strip() or response.reason_phrase


def _format_field(entry: Any) -> str:
    """Format one entry of a list of wrong fields, as `tasks.0: Field required`."""
    if not isinstance(entry, dict):
        return str(entry)
    path = ".".join(str(part) for part in entry.get("loc", ()) if part != "body")
    sentence = str(entry.get("msg", ""))
    return f"{path}: {sentence}" if path else sentence
