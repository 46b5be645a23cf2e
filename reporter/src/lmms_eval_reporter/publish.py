"""Publishes a finished run: files first, then `complete.json`, then the status in one write. It may be repeated whole.

`complete.json` says what an attempt had to report, so that a later attempt can report it without computing again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from lmms_eval_core import layout, run
from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.layout import ArtifactPrefix
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import ProgressReport, RunFile, RunInput, Stage, Timings
from lmms_eval_core.status import EvaluationStatus, GateStatus, ProgressStatus
from lmms_eval_core.store.errors import ObjectMissing, StoreError
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_reporter import status_fields
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile
from lmms_eval_reporter.run_files import FinishedRun
from lmms_eval_reporter.status_fields import Fields
from lmms_eval_reporter.status_progress import NOTHING_STORED, StoredAnswers
from lmms_eval_reporter.status_writer import StatusWriter
from lmms_eval_reporter.upload import Uploader

LOG_TAIL_BYTES: Final = 64 * 1024
MAX_COMPLETE_BYTES: Final = 256 * 1024
# For a write that only informs: it must not keep the results waiting.
INFORM_SECONDS: Final = 5.0


class Completion(RunFile):
    """The content of `complete.json`. `status` holds the fields that `build_results_fields` made."""

    uid: str
    attempt: int
    reason: Reason
    status: dict[str, Any]


class Publisher:
    """Publishes one attempt. Every method raises AttemptSuperseded; any other failure is waited out."""

    def __init__(self, attempt: RunInput, *, status: StatusWriter, uploader: Uploader, backoff: Backoff) -> None:
        self._attempt = attempt
        self._status = status
        self._uploader = uploader
        self._backoff = backoff

    async def publish_run(
        self,
        directory: RunDirectory,
        finished: FinishedRun,
        *,
        last: ProgressReport | None,
        stored: StoredAnswers,
        timings: Timings,
        evaluation: str,
        before_completion: Callable[[], Awaitable[None]],
    ) -> None:
        """Publish this attempt's own run. `last` is its progress, `evaluation` its object as YAML.

        `stored` is of its answers; `timings` are of all attempts together. `before_completion` stores what may be
        missing, and comes between what may not be and `complete.json`.
        """
        outcome = finished.outcome
        await self._inform(status_fields.build_reached_progress(last, stored=stored, now=datetime.now(UTC)))
        await self._uploader.send(directory, outcome, evaluation)
        await before_completion()
        results = status_fields.build_results_fields(self._attempt, finished, self._uploader.artifacts, timings=timings)
        produced = status_fields.to_wire_fields(results)
        complete = Completion(
            uid=self._attempt.uid, attempt=self._attempt.attempt, reason=outcome.reason, status=produced
        )
        await self._uploader.send_text(layout.COMPLETE_FILE, complete.to_json())
        error = status_fields.build_run_error(outcome, read_log_tail(directory))
        fields = produced | ({"error": error.to_wire()} if error else {})
        await self._write(fields, last, stored=stored, succeeded=outcome.reason == Reason.SUCCEEDED)

    async def publish_earlier(self, complete: Completion) -> None:
        """Report the results of an earlier attempt for this one."""
        await self._write(complete.status, None, succeeded=True)

    async def write_gate(self, verdict: GateStatus) -> None:
        """Write what the gate says of results that are published."""
        await self._backoff.retry(lambda: self._status.write({"gate": verdict.to_wire()}), "writing the verdict")

    async def report_failure(
        self, error: Exception, stage: Stage, *, last: ProgressReport | None, stored: StoredAnswers
    ) -> None:
        """Write into the status that the store is waited for; while the API server is away there is nothing to write
        to.
        """
        if isinstance(error, StoreError):
            progress = status_fields.build_waiting_progress(stage, last, stored=stored, now=datetime.now(UTC))
            await self._inform(progress)

    async def _write(
        self, fields: Fields, last: ProgressReport | None, *, stored: StoredAnswers = NOTHING_STORED, succeeded: bool
    ) -> None:
        progress = status_fields.build_final_progress(last, stored=stored, succeeded=succeeded, now=datetime.now(UTC))
        everything = fields | {"progress": progress.to_wire()}
        await self._backoff.retry(lambda: self._status.write(everything), "writing the status")

    async def _inform(self, progress: ProgressStatus) -> None:
        """Write progress once; a failure does not matter."""
        try:
            async with asyncio.timeout(INFORM_SECONDS):
                await self._status.write({"progress": progress.to_wire()})
        except (KubeError, TimeoutError):
            return


async def find_completed_attempt(store: ObjectStore, prefix: ArtifactPrefix) -> Completion | None:
    """Return the last attempt, up to `prefix`'s own, that succeeded and is whole in the store.

    StoreError if it is away.
    """
    for attempt in range(prefix.attempt, 0, -1):
        completion = await _read_completion(store, prefix._replace(attempt=attempt).file(layout.COMPLETE_FILE))
        # The prefix has a part of the uid only.
        if completion is not None and completion.uid == prefix.uid and completion.reason == Reason.SUCCEEDED:
            return completion
    return None


async def _read_completion(store: ObjectStore, key: str) -> Completion | None:
    try:
        completion = Completion.model_validate_json(await store.get(key, max_bytes=MAX_COMPLETE_BYTES))
        EvaluationStatus.model_validate(completion.status)
    except (ObjectMissing, ValidationError):
        # Written by a version that meant something else: compute again.
        return None
    return completion


def read_log_tail(directory: RunDirectory) -> str:
    """Return the end of the log, in whole lines; empty where there is none to read."""
    try:
        content = directory.read_tail(run.LOG_FILE, max_bytes=LOG_TAIL_BYTES)
    except UnsafeFile:
        return ""
    text = content.decode("utf-8", "replace")
    # The start of a cut line may be the end of a secret that no pattern knows any more.
    return text.partition("\n")[2] if len(content) == LOG_TAIL_BYTES else text
