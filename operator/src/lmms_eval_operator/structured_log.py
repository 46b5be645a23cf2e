"""Structured logs: the names of objects always under the same keys."""

import logging
from typing import Any

from lmms_eval_core import jsonlog


def log_fields(**fields: Any) -> dict[str, Any]:
    """Return `extra=` of a log call: evaluation, job, pod, slot, attempt, phase, reason, action, leader; `cause` is an
    error.

    Empty ones are left out.
    """
    return {name: value for name, value in fields.items() if value not in (None, "")}


def configure_logging(level: str) -> None:
    """Send everything to standard error; kopf and aiohttp log only what failed."""
    jsonlog.configure(level)
    for noisy in ("kopf", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns that it cannot catch signals in its thread; `main` does.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
