"""Publishes how a run ended: files first, then `complete.json`, then the status in one write. It may be repeated whole."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from lmms_eval_core import layout, run
from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.phases import Reason
from lmms_eval_core.run import ProgressReport, RunInput, Stage
from lmms_eval_core.status import Progress
from lmms_eval_core.store.errors import StoreError
from lmms_eval_reporter import report
from lmms_eval_reporter.earlier import Completion
from lmms_eval_reporter.files import RunDirectory, UnsafeFile
from lmms_eval_reporter.inbox import Ending
from lmms_eval_reporter.patience import Patience
from lmms_eval_reporter.progress import said
from lmms_eval_reporter.report import Fields
from lmms_eval_reporter.status import StatusWriter
from lmms_eval_reporter.upload import Uploader

LOG_TAIL_BYTES: Final = 64 * 1024
# For a write that only informs: it must not keep the results waiting.
MENTION_SECONDS: Final = 5.0


class Publisher:
    """Publishes one attempt. Every method raises Over, and waits for everything else."""

    def __init__(self, attempt: RunInput, *, status: StatusWriter, uploader: Uploader, patience: Patience) -> None:
        self._attempt = attempt
        self._status = status
        self._uploader = uploader
        self._patience = patience

    async def ending(self, directory: RunDirectory, ending: Ending, *, last: ProgressReport | None, evaluation: str) -> None:
        """The ending of this attempt's own run. `last` is its progress, `evaluation` its object as YAML."""
        reason = ending.outcome.reason
        await self._mention(report.reached(last, now=datetime.now(UTC)))
        await self._uploader.send(directory, ending.outcome, evaluation)
        produced = report.wire(report.results_fields(self._attempt, ending, self._uploader.artifacts))
        complete = Completion(uid=self._attempt.uid, attempt=self._attempt.attempt, reason=reason, status=produced)
        await self._uploader.text(layout.COMPLETE_FILE, complete.to_json())
        error = report.run_error(ending.outcome, log_tail(directory))
        fields = produced | ({"error": error.to_wire()} if error else {})
        await self._write(fields, report.final_progress(last, succeeded=reason == Reason.SUCCEEDED, now=datetime.now(UTC)))

    async def earlier(self, complete: Completion) -> None:
        """The results of an earlier attempt, reported for this one."""
        await self._write(complete.status, report.final_progress(None, succeeded=True, now=datetime.now(UTC)))

    async def trouble(self, error: Exception, stage: Stage) -> None:
        """Lets the status say that the store is waited for; that the API server is, it cannot say."""
        if isinstance(error, StoreError):
            await self._mention(said(stage, "waiting for object store", now=datetime.now(UTC)))

    async def _write(self, fields: Fields, progress: Progress) -> None:
        everything = fields | {"progress": progress.to_wire()}
        await self._patience.until_done(lambda: self._status.write(everything), "writing the status")

    async def _mention(self, progress: Progress) -> None:
        try:
            async with asyncio.timeout(MENTION_SECONDS):
                await self._status.write({"progress": progress.to_wire()})
        except (KubeError, TimeoutError):
            return


def log_tail(directory: RunDirectory) -> str:
    """The end of the log, in whole lines; empty where there is none to read."""
    try:
        content = directory.tail(run.LOG_FILE, max_bytes=LOG_TAIL_BYTES)
    except UnsafeFile:
        return ""
    text = content.decode("utf-8", "replace")
    # The start of a cut line may be the end of a secret that no pattern knows any more.
    return text.partition("\n")[2] if len(content) == LOG_TAIL_BYTES else text
