"""The handshake with the reporter: the pod must not end before what it found out has left it."""

import time
from pathlib import Path
from typing import Final

from lmms_eval_core.phases import Reason
from lmms_eval_core.run import PUBLISHED_FILE

from .stop import StopRequest

# A failure is told by log and exit code as well; nobody waits an hour with a GPU for its report.
FAILURE_SECONDS: Final = 90
_TICK: Final = 0.1


def is_published(directory: Path) -> bool:
    """Whether the reporter needs nothing more of this pod; before the start it means that there is nothing to run."""
    return (directory / PUBLISHED_FILE).exists()


def wait_for_published(directory: Path, *, reason: Reason, timeout_seconds: float, stop: StopRequest) -> bool:
    """Whether the reporter acknowledged in time.

    A finished result is waited for even while the pod is being ended, for as long as the cluster lets us.
    """
    succeeded = reason is Reason.SUCCEEDED
    deadline = time.monotonic() + (timeout_seconds if succeeded else min(timeout_seconds, FAILURE_SECONDS))
    while not is_published(directory):
        if time.monotonic() >= deadline or (stop.made and not succeeded):
            return False
        time.sleep(_TICK)
    return True
