"""Structured logs: the names of objects always under the same keys."""

import logging
from typing import Any

from lmms_eval_core import jsonlog


def keys(**names: Any) -> dict[str, Any]:
    """`extra=` of a log call: evaluation, job, pod, slot, attempt, phase, reason, action, leader; `cause` is what an error said.

    Empty ones are left out.
    """
    return {name: value for name, value in names.items() if value not in (None, "")}


def configure(level: str) -> None:
    """Everything to stderr; kopf and aiohttp speak only of troubles."""
    jsonlog.configure(level)
    for noisy in ("kopf", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns that it cannot catch signals in its thread; `main` does.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
