"""Structured logs: one event a line, as JSON, the names of objects always under the same keys."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

KEYS = "keys"


class JsonFormatter(logging.Formatter):
    """`{"time": ..., "level": ..., "event": ..., "evaluation": ..., ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, KEYS, {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def keys(**names: Any) -> dict[str, Any]:
    """`extra=` of a log call: evaluation, job, pod, slot, attempt, phase, reason, action, leader; `cause` is what an error said.

    Empty ones are left out.
    """
    return {KEYS: {name: value for name, value in names.items() if value not in (None, "")}}


def configure(level: str) -> None:
    """Everything to stderr; kopf and aiohttp speak only of troubles."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp", "kubernetes", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns that it cannot catch signals in its thread; `main` does.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
