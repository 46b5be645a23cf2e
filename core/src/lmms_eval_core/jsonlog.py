"""The log of a service as JSON, one event a line; facts are given as `extra`, so that they keep their names."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

# What every record carries; the rest are the facts of the event.
COMMON: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}


class JsonFormatter(logging.Formatter):
    """A record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        facts = {key: value for key, value in vars(record).items() if key not in COMMON}
        trace = {"traceback": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps(event | facts | trace, default=str)


def configure(level: str) -> None:
    """Sends everything that is logged in this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
