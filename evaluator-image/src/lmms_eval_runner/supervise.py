"""Supervises the running harness until it has ended, by itself or by us, and keeps the request to stop."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final, NamedTuple

from .harness_log import LogCopy
from .harness_log_watch import HarnessLogWatch
from .harness_process import HarnessProcess

TICK: Final = 0.1
# A process of several that failed leaves the others waiting for it, for a day; engines hang while they end.
LINGER_SECONDS: Final = 60.0


class StopRequest:
    """Whether the cluster has asked us to end, by SIGTERM, or a person at a terminal by SIGINT: `made` is polled by the
    loops.
    """

    def __init__(self) -> None:
        self.made = False

    def listen(self) -> None:
        """Let both signals set `made` and do nothing else; process 1 would not even get them without a handler."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.made = True


class HarnessExit(NamedTuple):
    """How the harness ended. `stopped` means that we ended it before its log had reported the end."""

    exit_code: int
    stopped: bool = False


def supervise(
    process: HarnessProcess, log: LogCopy, *, watch: HarnessLogWatch, stop: StopRequest, linger: float = LINGER_SECONDS
) -> HarnessExit:
    """Copy the log until the process is gone and nothing of it is left; return how it ended."""
    stopped, timer = False, _LingerTimer(linger)
    while (exit_code := process.poll()) is None:
        log.pump()
        stopped = stop.made and not watch.has_ended
        if stop.made or timer.has_run_out(watch.has_ended):
            process.terminate()
            exit_code = process.poll()
            break
        time.sleep(TICK)
    process.kill()
    log.finish()
    return HarnessExit(-9 if exit_code is None else exit_code, stopped)


class _LingerTimer:
    """Runs out some seconds after the harness had nothing more to do."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: float | None = None

    def has_run_out(self, ended: bool) -> bool:
        if ended and self._since is None:
            self._since = self._clock()
        return self._since is not None and self._clock() - self._since >= self._seconds
