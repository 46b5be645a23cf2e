"""Accompanies a run: progress from the run directory into the status, until the run has ended or SIGTERM came."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Final

from lmms_eval_core import run
from lmms_eval_core.kube.errors import KubeError
from lmms_eval_core.run import ProgressReport
from lmms_eval_reporter.files import RunDirectory, Version
from lmms_eval_reporter.inbox import Ending, interrupted, read_ending, read_progress
from lmms_eval_reporter.logs import Log
from lmms_eval_reporter.progress import Pacer, progress
from lmms_eval_reporter.settings import Settings
from lmms_eval_reporter.status import Over, StatusWriter

# After a failed write of progress. Nothing depends on progress: it is not insisted on.
AGAIN_SECONDS: Final = 5.0
# For a write that is under way when the run ends; the final one must come after it.
SETTLE_SECONDS: Final = 5.0


class Watch:
    """One run. `last` is the newest progress that was read."""

    def __init__(
        self, directory: RunDirectory, status: StatusWriter, settings: Settings, *, stop: asyncio.Event, log: Log
    ) -> None:
        self._directory = directory
        self._status = status
        self._settings = settings
        self._stop = stop
        self._log = log
        self._pacer = Pacer(settings.progress_seconds)
        self._version: Version | None = None
        self.last: ProgressReport | None = None

    async def ending(self) -> Ending:
        """How the run ended; after SIGTERM without an outcome, that it was interrupted."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(self._report_until(over))
            ending = await self._wait()
            over.set()
            await asyncio.wait([reporting], timeout=SETTLE_SECONDS)
            reporting.cancel()
        self._look()
        return ending

    async def _wait(self) -> Ending:
        while True:
            # Asked before the directory is looked at: an outcome that came before SIGTERM is always seen.
            stopped = self._stop.is_set()
            ending = read_ending(self._directory)
            if ending is not None or stopped:
                return ending or Ending(interrupted())
            await _sleep(self._settings.poll_seconds, self._stop)

    async def _report_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            self._look()
            if self.last is not None and self._pacer.due(self.last, at=time.monotonic()):
                await self._send(self.last, over)
            await _sleep(self._settings.poll_seconds, over)

    def _look(self) -> None:
        version = self._directory.version(run.PROGRESS_FILE)
        if version is not None and version != self._version:
            self._version = version
            self.last = read_progress(self._directory) or self.last

    async def _send(self, report: ProgressReport, over: asyncio.Event) -> None:
        try:
            await self._status.write({"progress": progress(report, now=datetime.now(UTC)).to_wire()})
        except (KubeError, Over) as error:
            # That an attempt is over is acted upon when it has something to publish; its pod is being deleted anyway.
            self._log("progress not written", error=str(error))
            await _sleep(AGAIN_SECONDS, over)
        else:
            self._pacer.sent(report, at=time.monotonic())


async def _sleep(seconds: float, until: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return
