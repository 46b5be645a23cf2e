"""`python -m lmms_eval_runner`, the command of the evaluator container: a request to end is heeded from here on.

What `main` imports takes a while, and the kernel drops every signal that process 1 has not asked for: a pod that is deleted
in that while would live on, with its GPU, until its grace has passed.
"""

import os
import signal
import sys
from types import FrameType


def start() -> int:
    """Ends at SIGTERM, until `main` has a better answer to it; returns the exit code."""
    signal.signal(signal.SIGTERM, _end)
    from .main import main

    return main()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(start())
