"""The log of a service as JSON, one event a line; facts are given as `extra`, so that they keep their names."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

# What every record carries; the rest are the facts of the event.
COMMON: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}

# `json.dumps` with a default makes an encoder for each call.
_encode: Final = json.JSONEncoder(default=str).encode


class JsonFormatter(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts = {key: value for key, value in vars(record).items() if key not in COMMON}
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return _line(record.created, record.levelno, record.name, record.getMessage(), facts | trace)


def configure(level: str) -> None:
    """Sends everything that is logged in this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def write(logger: logging.Logger, level: int, event: str, facts: dict[str, Any]) -> None:
    """Writes the line of `logger.log(level, event, extra=facts)` without the record in between.

    For the one event of each request: a record, its handlers and their locks cost several times what the line itself does.
    """
    if logger.isEnabledFor(level):
        line = _line(time.time(), level, logger.name, event, facts)
        try:
            sys.stderr.write(line + "\n")
        except (OSError, ValueError):
            # As a handler of `logging` has it: a log that is gone stops nobody.
            return


def _line(seconds: float, level: int, logger: str, event: str, facts: dict[str, Any]) -> str:
    head = {
        "time": datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds"),
        "level": logging.getLevelName(level).lower(),
        "logger": logger,
        "event": event,
    }
    return _encode(head | facts)
