"""The log of a service as JSON, one event a line; facts are given as `extra`, so that they keep their names."""

import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any, Final

import msgspec

# What every record carries; the rest are the facts of the event.
COMMON: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}

_quick: Final = msgspec.json.Encoder(enc_hook=str).encode
# For what the quick one refuses, or writes as it is: the other escapes every character beyond ASCII, and halves of
# pairs.
_careful: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts = {key: value for key, value in vars(record).items() if key not in COMMON}
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return _format_line(record.created, record.levelno, record.name, record.getMessage(), facts | trace)


def configure(level: str) -> None:
    """Send everything that is logged in this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def write(logger: logging.Logger, level: int, event: str, facts: dict[str, Any]) -> None:
    """Write the line of `logger.log(level, event, extra=facts)` without the record in between.

    For the one event of each request: a record, its handlers and their locks cost several times what the line itself
    does.
    """
    if logger.isEnabledFor(level):
        line = _format_line(time.time(), level, logger.name, event, facts)
        try:
            sys.stderr.write(line + "\n")
        except (OSError, ValueError):
            # As a handler of `logging` does: a log that is gone stops no request.
            return


def _format_line(seconds: float, level: int, logger: str, event: str, facts: dict[str, Any]) -> str:
    head = {
        "time": _format_moment(seconds),
        "level": logging.getLevelName(level).lower(),
        "logger": logger,
        "event": event,
    }
    record = head | facts
    try:
        line = _quick(record)
    except (ValueError, TypeError, OverflowError):
        return _careful(record)
    return line.decode() if line.isascii() else _careful(record)


def _format_moment(seconds: float) -> str:
    """Format UTC with milliseconds, as in RFC 3339."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_format_second(whole)}.{milliseconds:03d}+00:00"


@lru_cache(maxsize=1)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
