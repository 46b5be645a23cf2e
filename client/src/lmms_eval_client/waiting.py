"""How a wait for a job ends, and what it prints meanwhile. Pure."""

from typing import Any

from lmms_eval_client.errors import AnswerUnreadable, JobCancelled, JobFailed, WaitTimedOut
from lmms_eval_core.wire import JobInfo, JobStatus

ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


def check_completed(job: JobInfo) -> bool:
    """Return whether the job has its results; JobFailed or JobCancelled if it will never have any."""
    if job.status is JobStatus.FAILED:
        raise JobFailed(job)
    if job.status is JobStatus.CANCELLED:
        raise JobCancelled(job)
    return job.status is JobStatus.COMPLETED


def check_answer(answer: dict[str, Any], *, verbose: bool) -> bool:
    """Do the same for an answer of GET /jobs/{job_id}; `verbose` prints it in the words of lmms-eval's own client."""
    try:
        job = JobInfo.model_validate(answer)
    except ValueError as error:
        raise AnswerUnreadable(f"The server's answer is no job: {error}") from error
    line = describe_job(job)
    if verbose and line:
        print(line)
    return check_completed(job)


def describe_job(job: JobInfo) -> str | None:
    """Return one line on a job that waits, runs or is completed."""
    name = f"Job {job.job_id[:8]}..."
    match job.status:
        case JobStatus.QUEUED:
            return f"{name} queued (position: {job.position_in_queue})"
        case JobStatus.RUNNING:
            return f"{name} running"
        case JobStatus.COMPLETED:
            return f"{name} completed!"
    return None


class WaitDeadline:
    """The time until which a caller waits. As in lmms-eval's own client, a timeout of None or 0 is none at all."""

    def __init__(self, job_id: str, timeout: float | None, now: float) -> None:
        self._job_id = job_id
        self._end = now + timeout if timeout else None

    def check(self, now: float) -> None:
        """Raise WaitTimedOut when it is past."""
        if self._end is not None and now > self._end:
            raise WaitTimedOut(self._job_id)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until then; None without a time-out."""
        return None if self._end is None else max(0.0, self._end - now)
