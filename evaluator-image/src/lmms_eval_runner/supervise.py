"""Looks after the running harness until it has ended, by itself or by us."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from .child import Child
from .log import LogCopy
from .stop import StopRequest
from .watch import LogWatch

TICK: Final = 0.1
# A process of several that failed leaves the others waiting for it, for a day; engines hang while they end.
LINGER_SECONDS: Final = 60.0


class End(NamedTuple):
    """How it ended. `stopped` means that we ended it before it had said its last word."""

    exit_code: int
    stopped: bool = False


def supervise(child: Child, log: LogCopy, *, watch: LogWatch, stop: StopRequest, linger: float = LINGER_SECONDS) -> End:
    """Copies the log until the child is gone and nothing of it is left."""
    stopped, patience = False, _Patience(linger)
    while (exit_code := child.poll()) is None:
        log.pump()
        stopped = stop.made and not watch.over
        if stop.made or patience.lost(watch.over):
            child.terminate()
            exit_code = child.poll()
            break
        time.sleep(TICK)
    child.kill()
    log.finish()
    return End(-9 if exit_code is None else exit_code, stopped)


class _Patience:
    """Runs out some seconds after the harness had nothing more to do."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: float | None = None

    def lost(self, over: bool) -> bool:
        if over and self._since is None:
            self._since = self._clock()
        return self._since is not None and self._clock() - self._since >= self._seconds
