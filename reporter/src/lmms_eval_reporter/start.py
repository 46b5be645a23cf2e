"""The first code of the container, ahead of `main`: handles SIGTERM from here on.

What `main` imports takes a second or more, and the kernel drops every signal that process 1 has not asked for: a pod
that is deleted in that second would live on, with its GPU, until its grace has passed. While Python itself starts the
signal is blocked, by the image's entry point, and so kept.
"""

import os
import signal
from types import FrameType


def start() -> None:
    """End at SIGTERM until `main` installs its own handler, then run `main`."""
    signal.signal(signal.SIGTERM, _exit)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    from lmms_eval_reporter.main import main

    main()


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
