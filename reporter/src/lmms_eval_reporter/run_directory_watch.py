"""Watches the run directory of a run: progress goes into the status until the run has ended or SIGTERM came."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lmms_eval_core import run
from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.run import ProgressReport
from lmms_eval_reporter.journal_upload import JournalUploader
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import sleep
from lmms_eval_reporter.run_directory import FileVersion, RunDirectory
from lmms_eval_reporter.run_files import FinishedRun, make_interrupted_outcome, read_finished_run, read_progress
from lmms_eval_reporter.settings import Settings
from lmms_eval_reporter.status_progress import Pacer, StoredAnswers, build_progress
from lmms_eval_reporter.status_writer import AttemptSuperseded, StatusWriter

# After a failed write of progress. Nothing depends on progress: it is not insisted on.
AGAIN_SECONDS: Final = 5.0
# For a write that is under way when the run ends; the final one must come after it.
SETTLE_SECONDS: Final = 5.0


class RunDirectoryWatch:
    """The watch of one run. `last` is the newest progress that was read; `describe_stored` says what the store has."""

    def __init__(
        self,
        directory: RunDirectory,
        status: StatusWriter,
        settings: Settings,
        *,
        journal: JournalUploader,
        describe_stored: Callable[[], StoredAnswers],
        stop: asyncio.Event,
        log: ReporterLog,
    ) -> None:
        self._directory = directory
        self._status = status
        self._settings = settings
        self._journal = journal
        self._describe_stored = describe_stored
        self._stop = stop
        self._log = log
        self._pacer = Pacer(settings.progress_seconds)
        self._version: FileVersion | None = None
        self.last: ProgressReport | None = None

    async def wait_until_finished(self) -> FinishedRun:
        """Return how the run ended; after SIGTERM without an outcome, that it was interrupted."""
        finished = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(self._report_until(finished))
            found = await self._poll_outcome()
            finished.set()
            await asyncio.wait([reporting], timeout=SETTLE_SECONDS)
            reporting.cancel()
        self._read_new_progress()
        return found

    async def _poll_outcome(self) -> FinishedRun:
        while True:
            # Asked before the directory is looked at: an outcome that came before SIGTERM is always seen.
            stopped = self._stop.is_set()
            found = read_finished_run(self._directory)
            if found is not None or stopped:
                return found or FinishedRun(make_interrupted_outcome())
            await sleep(self._settings.poll_seconds, self._stop)

    async def _report_until(self, finished: asyncio.Event) -> None:
        while not finished.is_set():
            self._read_new_progress()
            if self.last is not None:
                await self._write_if_due(self.last, self._describe_stored(), finished)
            await sleep(self._settings.poll_seconds, finished)

    def _read_new_progress(self) -> None:
        version = self._directory.read_version(run.PROGRESS_FILE)
        if version is not None and version != self._version:
            self._version = version
            self.last = read_progress(self._directory) or self.last

    async def _write_if_due(self, report: ProgressReport, stored: StoredAnswers, finished: asyncio.Event) -> None:
        if not self._pacer.is_due(report, stored, at=time.monotonic()):
            return
        try:
            progress = build_progress(report, stored=stored, now=datetime.now(UTC))
            await self._status.write({"progress": progress.to_wire()})
        except (KubeError, AttemptSuperseded) as error:
            # A superseded attempt matters when it has something to publish; its pod is being deleted anyway.
            self._log("progress not written", error=str(error))
            if isinstance(error, AttemptSuperseded):
                self._journal.end()
            await sleep(AGAIN_SECONDS, finished)
        else:
            self._pacer.record_write(report, stored, at=time.monotonic())
