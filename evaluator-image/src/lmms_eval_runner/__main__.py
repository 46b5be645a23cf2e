"""`python -m lmms_eval_runner`, the command of the evaluator container: handles SIGTERM from here on.

What `main` imports takes a while, and the kernel drops every signal that process 1 has not asked for: a pod that is
deleted in that while would live on, with its GPU, until its grace has passed.
"""

import os
import signal
import sys
from types import FrameType


def start() -> int:
    """End at SIGTERM until `main` installs its own handler, then run `main`; return the exit code."""
    signal.signal(signal.SIGTERM, _exit)
    from .main import main

    return main()


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(start())
