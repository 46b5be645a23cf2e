"""The methods of lmms-eval's own `EvalClient` and `AsyncEvalClient`: names, arguments, defaults, and dicts as answers.

Source: `lmms_eval/entrypoints/client.py`, 0.7.3. The async twin has the four methods too that lmms-eval's lacks.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar

from lmms_eval_client import calls
from lmms_eval_client.calls import JSON, Call, read_json
from lmms_eval_client.errors import LmmsEvalError
from lmms_eval_client.waiting import WaitDeadline, check_answer

T = TypeVar("T")


def _make_evaluate_call(fields: dict[str, Any]) -> Call[JSON]:
    """Return the submission in the arguments of `evaluate`."""
    own = {
        name: value for name, value in fields.items() if name not in ("self", "beyond", "dry_run", "idempotency_key")
    }
    return calls.evaluate(
        own | fields["beyond"], read_json, dry_run=fields["dry_run"], idempotency_key=fields["idempotency_key"]
    )


class UpstreamMethods(ABC):
    """Without an event loop."""

    @abstractmethod
    def _send(self, call: Call[T]) -> T: ...

    def health(self) -> JSON:
        """Whether the server can see the jobs."""
        return self._send(calls.health())

    def is_healthy(self) -> bool:
        """Whether the server says that it is healthy."""
        try:
            return self.health().get("status") == "healthy"
        except LmmsEvalError:
            return False

    def list_tasks(self, query: str | None = None) -> list[str]:
        """Names of tasks, groups and tags; those with `query` in them, if given."""
        tasks: list[str] = self._send(calls.tasks(read_json, query=query)).get("tasks", [])
        return tasks

    def list_models(self) -> list[str]:
        """Ids of model adapters."""
        models: list[str] = self._send(calls.models(read_json)).get("models", [])
        return models

    def evaluate(
        self,
        model: str,
        tasks: list[str],
        model_args: dict[str, Any] | None = None,
        num_fewshot: int | None = None,
        batch_size: int | str | None = None,
        device: str | None = None,
        limit: int | float | None = None,
        gen_kwargs: str | None = None,
        log_samples: bool = True,
        predict_only: bool = False,
        num_gpus: int = 1,
        output_dir: str | None = None,
        *,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        **beyond: Any,
    ) -> JSON:
        """Submits an evaluation: job_id, status, position_in_queue, message, warnings.

        `beyond` are the other fields of `EvaluateRequest`: priority, hold, env, labels, ...
        """
        return self._send(_make_evaluate_call(locals()))

    def get_job(self, job_id: str) -> JSON:
        """State, progress and results of a job."""
        return self._send(calls.job(job_id, read_json))

    def cancel_job(self, job_id: str) -> JSON:
        """Cancels a job, queued or running."""
        return self._send(calls.cancel(job_id, read_json))

    def wait_for_job(
        self, job_id: str, poll_interval: float = 5.0, timeout: float | None = None, verbose: bool = True
    ) -> JSON:
        """Asks for the job every `poll_interval` seconds until it is completed.

        JobFailed, JobCancelled, WaitTimedOut.
        """
        deadline = WaitDeadline(job_id, timeout, time.monotonic())
        while not check_answer(job := self.get_job(job_id), verbose=verbose):
            deadline.check(time.monotonic())
            time.sleep(poll_interval)
        return job

    def get_queue_status(self) -> JSON:
        """What runs, and what waits in which order."""
        return self._send(calls.queue(read_json))

    def merge_checkpoint(
        self,
        checkpoint_path: str,
        output_path: str | None = None,
        checkpoint_type: Literal["regular", "ema"] = "regular",
    ) -> JSON:
        """Merges a sharded checkpoint, where the server can."""
        return self._send(calls.merge(checkpoint_path, output_path, checkpoint_type))


class AsyncUpstreamMethods(ABC):
    """The same for an event loop."""

    @abstractmethod
    async def _send(self, call: Call[T]) -> T: ...

    async def health(self) -> JSON:
        """As `Client.health`."""
        return await self._send(calls.health())

    async def is_healthy(self) -> bool:
        """As `Client.is_healthy`."""
        try:
            return (await self.health()).get("status") == "healthy"
        except LmmsEvalError:
            return False

    async def list_tasks(self, query: str | None = None) -> list[str]:
        """As `Client.list_tasks`."""
        tasks: list[str] = (await self._send(calls.tasks(read_json, query=query))).get("tasks", [])
        return tasks

    async def list_models(self) -> list[str]:
        """As `Client.list_models`."""
        models: list[str] = (await self._send(calls.models(read_json))).get("models", [])
        return models

    async def evaluate(
        self,
        model: str,
        tasks: list[str],
        model_args: dict[str, Any] | None = None,
        num_fewshot: int | None = None,
        batch_size: int | str | None = None,
        device: str | None = None,
        limit: int | float | None = None,
        gen_kwargs: str | None = None,
        log_samples: bool = True,
        predict_only: bool = False,
        num_gpus: int = 1,
        output_dir: str | None = None,
        *,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        **beyond: Any,
    ) -> JSON:
        """As `Client.evaluate`."""
        return await self._send(_make_evaluate_call(locals()))

    async def get_job(self, job_id: str) -> JSON:
        """As `Client.get_job`."""
        return await self._send(calls.job(job_id, read_json))

    async def cancel_job(self, job_id: str) -> JSON:
        """As `Client.cancel_job`."""
        return await self._send(calls.cancel(job_id, read_json))

    async def wait_for_job(
        self, job_id: str, poll_interval: float = 5.0, timeout: float | None = None, verbose: bool = True
    ) -> JSON:
        """As `Client.wait_for_job`."""
        deadline = WaitDeadline(job_id, timeout, time.monotonic())
        while not check_answer(job := await self.get_job(job_id), verbose=verbose):
            deadline.check(time.monotonic())
            await asyncio.sleep(poll_interval)
        return job

    async def get_queue_status(self) -> JSON:
        """As `Client.get_queue_status`."""
        return await self._send(calls.queue(read_json))

    async def merge_checkpoint(
        self,
        checkpoint_path: str,
        output_path: str | None = None,
        checkpoint_type: Literal["regular", "ema"] = "regular",
    ) -> JSON:
        """As `Client.merge_checkpoint`."""
        return await self._send(calls.merge(checkpoint_path, output_path, checkpoint_type))
